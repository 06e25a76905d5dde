"""Weights as small integers, and the arithmetic that goes with them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
INT8_MOST = 127
ZERO = 128
"""What stands for 0 among the unsigned bytes that states become."""


@dataclass(frozen=True)
class Quantized:
    """Integers and what each row or column counts: value ≈ integer · scale."""

    values: NDArray[np.int8]
    scale: Floats


def quantize(weights: Floats, axis: int) -> Quantized:
    """Round to int8 with a scale for every index of an axis, symmetric around 0.

    The largest magnitude along the other axes becomes 127; what is 0 everywhere keeps a scale of 1.
    """
    others = tuple(other for other in range(weights.ndim) if other != axis)
    largest = np.abs(weights).max(axis=others)
    scale = np.where(largest > 0, largest / INT8_MOST, 1.0).astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    values = np.rint(weights / scale.reshape(shape)).clip(-INT8_MOST, INT8_MOST)
    return Quantized(values.astype(np.int8), scale)
