"""What an exported graph is made of, in fewer bytes.

A state is quantized by its own largest entry, never by that of others in its batch: what a person is
recommended must not hang on who else is asked about.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from slmrec.compress.graph import Chain, Graph
from slmrec.compress.integers import INT8_MOST, ZERO, quantize

ITEMS = "model.items.weight"
MEMORY_WEIGHTS = "model.memory.weights"
CONTRIB = "com.microsoft"
"""Operators of ONNX Runtime: an integer product that gives floats in one pass."""
NOTHING = 1e-12
Floats = NDArray[np.float32]


def shrink_item_table(graph: Graph) -> None:
    """Keep the item table once, as int8 with a scale for each item.

    It is both what histories are looked up in and what states are multiplied with.
    """
    table = graph.constants()[ITEMS]
    turned = quantize(np.ascontiguousarray(table.T), axis=1)  # [width, items + 1]
    values = graph.add_constant("items", turned.values)
    scale = graph.add_constant("items_scale", turned.scale)
    for node in graph.readers(ITEMS):
        if node.op_type == "Gather":
            graph.replace(node, *_looked_up(graph, values, scale, node.input[1]))
        else:  # Transpose, in front of the product with the states
            (product,) = graph.readers(node.output[0])
            graph.replace(product, *_multiplied(graph, product.input[0], values, scale))
            graph.remove(node)
    graph.drop_unread()


def shrink_layers(graph: Graph) -> None:
    """Keep every other matrix as int8 with a scale for each column."""
    constants = graph.constants()
    for node in (*graph.nodes("MatMul"), *graph.nodes("Gemm")):
        weights = constants.get(node.input[1])
        if weights is None or weights.ndim != 2:
            continue
        if node.op_type == "Gemm" and _attribute(node, "transB"):
            weights = weights.T
        found = quantize(np.ascontiguousarray(weights), axis=1)
        values = graph.add_constant("matrix", found.values)
        scale = graph.add_constant("matrix_scale", found.scale)
        graph.replace(node, *_multiplied(graph, node.input[0], values, scale))
    graph.drop_unread()


def shrink_memory(graph: Graph) -> None:
    """Keep neighbours in as few bytes as the catalogue needs, and what they weigh in one.

    A weight is rounded on a square-root scale of its own item: strong and weak ones both keep digits.
    """
    constants = graph.constants()
    weights = constants.get(MEMORY_WEIGHTS)
    if weights is None:
        return
    for node in graph.nodes("GatherND") + graph.nodes("Gather"):
        held = constants.get(node.input[0])
        if held is None:
            continue
        if node.input[0] == MEMORY_WEIGHTS:
            graph.replace(node, *_roots_looked_up(graph, node, weights))
        elif held.shape == weights.shape and held.dtype == np.int32:
            small = graph.add_constant("neighbours", held.astype(np.min_scalar_type(len(held))))
            chain = graph.chain()
            found = chain.call(node.op_type, [small, node.input[1]])
            graph.replace(node, chain, chain.call("Cast", [found], to=onnx.TensorProto.INT32))
    graph.drop_unread()


def _looked_up(graph: Graph, values: str, scale: str, items: str) -> tuple[Chain, str]:
    chain = graph.chain()
    columns = chain.call("Gather", [values, items], axis=1)  # [width, batch, length]
    rows = chain.call("Transpose", [columns], perm=[1, 2, 0])
    floats = chain.call("Cast", [rows], to=onnx.TensorProto.FLOAT)
    each = chain.call("Gather", [scale, items], axis=0)  # [batch, length]
    last = chain.constant("last_axis", [-1])
    return chain, chain.call("Mul", [floats, chain.call("Unsqueeze", [each, last])])


def _multiplied(graph: Graph, states: str, values: str, scale: str) -> tuple[Chain, str]:
    """States times int8 weights [inputs, outputs]: each state by its own largest entry."""
    chain = graph.chain()
    axis = chain.constant("last_axis", [-1])
    largest = chain.call("ReduceMax", [chain.call("Abs", [states]), axis], keepdims=1)
    largest = chain.call("Max", [largest, chain.constant("nothing", NOTHING)])
    whole = chain.call("Div", [states, largest])  # between -1 and 1
    step = chain.constant("step", 1.0 / INT8_MOST)
    zero = chain.constant("zero", np.uint8(ZERO))  # type: ignore[arg-type]
    bytes_ = chain.call("QuantizeLinear", [whole, step, zero])
    product = chain.call(
        "MatMulIntegerToFloat", [bytes_, values, step, scale, zero], domain=CONTRIB
    )
    return chain, chain.call("Mul", [product, largest])


def _roots_looked_up(graph: Graph, node: onnx.NodeProto, weights: Floats) -> tuple[Chain, str]:
    largest = np.sqrt(weights.max(axis=1))
    step = np.where(largest > 0, largest / 255, 1.0).astype(np.float32)
    roots = np.rint(np.sqrt(weights) / step[:, None]).clip(0, 255).astype(np.uint8)
    chain = graph.chain()
    places = node.input[1]
    small = chain.call(node.op_type, [chain.constant("memory", roots), places])
    floats = chain.call("Cast", [small], to=onnx.TensorProto.FLOAT)
    each = chain.call(node.op_type, [chain.constant("memory_step", step), places])
    last = chain.constant("last_axis", [-1])
    root = chain.call("Mul", [floats, chain.call("Unsqueeze", [each, last])])
    return chain, chain.call("Mul", [root, root])


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next(
        (onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), None
    )
