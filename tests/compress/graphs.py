"""Running a graph that a test wrote."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime

from slmrec.compress.graph import FLOAT, INT64, Graph


def run(
    write: Callable[[Graph], str], given: np.ndarray, *, rank: int = 2
) -> tuple[np.ndarray, onnx.ModelProto]:
    """What the graph makes of `given`, its input `x`, and the model.

    `write` names the output, which has `rank` dimensions.
    """
    graph = Graph()
    graph.call("Identity", write(graph), output="y")
    kind = INT64 if given.dtype == np.int64 else FLOAT
    graph.inputs = {"x": (kind, list(given.shape))}
    graph.outputs = {"y": (FLOAT, [f"d{number}" for number in range(rank)])}
    model = graph.model()
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["y"], {"x": given})[0], model


def types(model: onnx.ModelProto) -> set[int]:
    return {tensor.data_type for tensor in model.graph.initializer}
