"""Weights as small integers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmrec.config.student import INT4_BLOCK

Floats = NDArray[np.float32]
INT8_MOST = 127
NOTHING = 1e-12
"""Smallest reach of a state: what is 0 everywhere can be divided by it."""
ZERO = 128
"""What stands for 0 among the unsigned bytes that states become."""
INT4_MOST, INT4_ZERO = 7, 8
BLOCK = INT4_BLOCK
"""Neighbours in a row that share the scale of their 4-bit integers."""


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
    scale = steps(np.abs(weights).max(axis=others), INT8_MOST)
    shape = [1] * weights.ndim
    shape[axis] = -1
    values = np.rint(weights / scale.reshape(shape)).clip(-INT8_MOST, INT8_MOST)
    return Quantized(values.astype(np.int8), scale)


@dataclass(frozen=True)
class Nibbles:
    """4-bit integers, two a byte, the earlier one in the lower half: value ≈ (integer − 8) · scale.

    - `packed` uint8 [rows, blocks, BLOCK / 2]; `scale` float32 [rows, blocks]
    """

    packed: NDArray[np.uint8]
    scale: Floats

    def values(self) -> Floats:
        """What they stand for: float32 [rows, blocks · BLOCK]."""
        whole = np.stack([self.packed & 15, self.packed >> 4], axis=-1).astype(np.float32)
        rows, blocks, _ = self.packed.shape
        found: Floats = (whole.reshape(rows, blocks, BLOCK) - INT4_ZERO) * self.scale[:, :, None]
        return found.reshape(rows, -1)


def quantize_to_nibbles(weights: Floats) -> Nibbles:
    """Round rows to 4 bits with a scale for every 32 neighbours, symmetric around 0.

    `weights` [rows, columns]; a row that does not fill its last block is filled with zeros.
    """
    rows, columns = weights.shape
    blocks = -(-columns // BLOCK)
    filled = np.zeros((rows, blocks * BLOCK), dtype=np.float32)
    filled[:, :columns] = weights
    grouped = filled.reshape(rows, blocks, BLOCK)
    scale = steps(np.abs(grouped).max(axis=2), INT4_MOST)
    whole = np.rint(grouped / scale[:, :, None]).clip(-INT4_MOST, INT4_MOST)
    values = (whole + INT4_ZERO).astype(np.uint8)
    packed = values[:, :, ::2] + 16 * values[:, :, 1::2]
    return Nibbles(packed.astype(np.uint8), scale)


@dataclass(frozen=True)
class Roots:
    """Weights from 0 up as bytes on a square-root scale: value ≈ (byte · step)².

    - `bytes` uint8 [rows, columns]; `step` float32 [rows, 1]
    """

    bytes: NDArray[np.uint8]
    step: Floats

    def values(self) -> Floats:
        """What they stand for: float32 [rows, columns]."""
        found: Floats = (self.bytes * self.step) ** 2
        return found


def quantize_roots(weights: Floats) -> Roots:
    """Round each row in steps of the root of its own largest: strong and weak ones both keep digits."""
    step = steps(np.sqrt(weights.max(axis=1, keepdims=True)), 255)
    return Roots(np.rint(np.sqrt(weights) / step).clip(0, 255).astype(np.uint8), step)


def steps(largest: Floats, most: int) -> Floats:
    """What one count is worth where the largest magnitude becomes `most`; 1 where all is 0."""
    return np.where(largest > 0, largest / most, 1.0).astype(np.float32)
