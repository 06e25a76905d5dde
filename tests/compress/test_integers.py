import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from slmrec.compress.graph import Graph
from slmrec.compress.integers import quantize
from slmrec.compress.passes import CONTRIB, ITEMS, shrink_item_table, shrink_layers

TABLE = np.array([[0, 0], [1, -2], [0.5, 0.25], [-4, 3]], np.float32)


def test_the_largest_of_each_row_or_column_becomes_127() -> None:
    weights = np.array([[1.0, -2.0], [0.5, 0.25], [0.0, 0.0]], np.float32)
    by_row = quantize(weights, axis=0)
    # 1 / (2 / 127) = 63.5 rounds to the even 64, .25 / (.5 / 127) = 63.5 too
    assert by_row.values.tolist() == [[64, -127], [127, 64], [0, 0]]
    assert by_row.scale.tolist() == pytest.approx([2 / 127, 0.5 / 127, 1.0])
    by_column = quantize(weights, axis=1)
    assert by_column.values.tolist() == [[127, -127], [64, 16], [0, 0]]
    assert by_column.scale.tolist() == pytest.approx([1 / 127, 2 / 127])


def run(nodes, constants, inputs, outputs, *passes):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, t, s) for n, (t, s, _) in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    for change in passes:
        change(Graph(model))
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, {name: value for name, (_, _, value) in inputs.items()})
    return model, found


def test_the_item_table_is_kept_once_and_serves_both_uses() -> None:
    states = np.array([[1.0, 0.5], [-20.0, 10.0]], np.float32)
    model, (looked_up, scores) = run(
        [
            helper.make_node("Gather", [ITEMS, "items"], ["embedded"]),
            helper.make_node("Transpose", [ITEMS], ["turned"], perm=[1, 0]),
            helper.make_node("MatMul", ["states", "turned"], ["scores"]),
        ],
        {ITEMS: TABLE},
        {
            "items": (TensorProto.INT64, [1, 3], np.array([[3, 1, 0]])),
            "states": (TensorProto.FLOAT, [2, 2], states),
        },
        {"embedded": [1, 3, 2], "scores": [2, 4]},
        shrink_item_table,
    )
    kept = {t.name: t for t in model.graph.initializer}
    assert ITEMS not in kept
    assert sum(t.data_type == TensorProto.INT8 for t in kept.values()) == 1
    # item 3: -4 and 3 are -127 and 95 steps of 4/127; item 1: 64 (1 is 63.5 steps) and -127 of 2/127
    rounded = np.array(
        [[0, 0], [64 * 2 / 127, -2], [0.5, 64 * 0.5 / 127], [-4, 95 * 4 / 127]], np.float32
    )
    np.testing.assert_allclose(looked_up[0], rounded[[3, 1, 0]], rtol=1e-6)
    # states by their own largest entry: (127, 64) steps of 1/127, (-127, 64) of 20/127
    steps = np.array([[1.0, 64 / 127], [-20.0, 20 * 64 / 127]], np.float32)
    np.testing.assert_allclose(scores, steps @ rounded.T, rtol=1e-5)


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
def test_other_matrices_are_quantized_by_column(kind: str) -> None:
    weights = np.array([[1.0, 8.0], [-0.5, 4.0]], np.float32)
    stored = weights if kind == "MatMul" else np.ascontiguousarray(weights.T)
    attributes = {} if kind == "MatMul" else {"transB": 1}
    model, (found,) = run(
        [helper.make_node(kind, ["states", "w"], ["out"], **attributes)],
        {"w": stored},
        {"states": (TensorProto.FLOAT, [2, 2], np.array([[2.0, 0], [0, 3.0]], np.float32))},
        {"out": [2, 2]},
        shrink_layers,
    )
    assert {t.data_type for t in model.graph.initializer} >= {TensorProto.INT8}
    # one entry a state is exact, so what is left is the rounding of the weights: 64 of 127 for a half
    expected = [[2.0, 16.0], [3 * -64 / 127, 3 * 8 * 64 / 127]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
