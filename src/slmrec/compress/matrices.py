"""How a matrix is kept in a graph, and how states are multiplied with it.

A state is quantized by itself or by what was measured beforehand, never by others in its batch: what
a person is recommended must not hang on who else is asked about.
"""

from typing import Any, Protocol

import ml_dtypes
import numpy as np

from slmrec.compress.graph import CONTRIB, FLOAT, Graph
from slmrec.compress.integers import (
    BLOCK,
    INT8_MOST,
    NOTHING,
    ZERO,
    Floats,
    quantize,
    quantize_to_nibbles,
)


class Matrix(Protocol):
    """A matrix [inputs, outputs] in the form in which a graph keeps it."""

    def times(self, graph: Graph, states: str) -> str:
        """States [..., inputs] → float32 [..., outputs]."""
        ...


class FloatMatrix:
    """Kept as floats; bfloat16 is half the bytes on disk and becomes float32 when it is loaded."""

    def __init__(self, weights: Floats, dtype: Any = np.float32) -> None:
        self._weights = weights
        self._dtype = dtype

    def times(self, graph: Graph, states: str) -> str:
        """States [..., inputs] → float32 [..., outputs]."""
        return graph.call("MatMul", states, float_constant(graph, self._weights, self._dtype))


class ByteMatrix:
    """Kept as int8 with a scale for each column.

    With a `reach`, the largest magnitude that states were seen to have, all are rounded in the same
    steps and larger ones are cut; without, each state is rounded in steps of its own largest entry.
    """

    def __init__(self, weights: Floats, reach: float | None) -> None:
        self._quantized = quantize(weights, axis=1)
        self._reach = reach

    def times(self, graph: Graph, states: str) -> str:
        """States [..., inputs] → float32 [..., outputs]."""
        values = graph.constant("matrix", self._quantized.values)
        scale = graph.constant("matrix_scale", self._quantized.scale)
        return byte_product(graph, states, values, scale, self._reach)


class NibbleMatrix:
    """Kept in 4 bits with a scale for every 32 inputs; states are rounded by ONNX Runtime."""

    def __init__(self, weights: Floats) -> None:
        self._weights = weights

    def times(self, graph: Graph, states: str) -> str:
        """States [..., inputs] → float32 [..., outputs]."""
        inputs, outputs = self._weights.shape
        nibbles = quantize_to_nibbles(np.ascontiguousarray(self._weights.T))
        packed = graph.constant("nibbles", nibbles.packed)
        scale = graph.constant("nibbles_scale", nibbles.scale)
        return nibble_product(graph, states, packed, scale, (inputs, outputs))


def float_constant(graph: Graph, values: Floats, dtype: Any) -> str:
    """A constant whose reader is given float32."""
    if dtype == np.float32:
        return graph.constant("weights", values)
    assert dtype == ml_dtypes.bfloat16
    return graph.call("Cast", graph.constant("weights", values.astype(dtype)), to=FLOAT)


def byte_product(
    graph: Graph, states: str, values: str, scale: str, reach: float | None, bias: str = ""
) -> str:
    """States times int8 `values` [inputs, outputs] that count `scale` [outputs], plus a bias."""
    zero = graph.number(ZERO, np.uint8)
    if reach is not None:
        step = graph.number(max(reach, NOTHING) / INT8_MOST)
        rounded = graph.call("QuantizeLinear", states, step, zero)
        inputs = [rounded, values, step, scale, zero, "", bias]
        return _to_float(graph, inputs if bias else inputs[:5])
    axis = graph.integers([-1])
    largest = graph.call("ReduceMax", graph.call("Abs", states), axis, keepdims=1)
    largest = graph.call("Max", largest, graph.number(NOTHING))
    step = graph.number(1 / INT8_MOST)
    rounded = graph.call("QuantizeLinear", graph.call("Div", states, largest), step, zero)
    product = graph.call("Mul", _to_float(graph, [rounded, values, step, scale, zero]), largest)
    return graph.call("Add", product, bias) if bias else product


def nibble_product(
    graph: Graph, states: str, packed: str, scale: str, shape: tuple[int, int], bias: str = ""
) -> str:
    """States times a matrix of 4-bit integers of `shape` (inputs, outputs), plus a bias."""
    inputs, outputs = shape
    operands = [states, packed, scale, "", "", bias]
    return graph.call(
        "MatMulNBits",
        *(operands if bias else operands[:3]),
        domain=CONTRIB,
        K=inputs,
        N=outputs,
        bits=4,
        block_size=BLOCK,
        accuracy_level=4,  # products of int8
    )


def _to_float(graph: Graph, inputs: list[str]) -> str:
    return graph.call("MatMulIntegerToFloat", *inputs, domain=CONTRIB)
