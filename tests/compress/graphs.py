"""Running a graph that a test wrote."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from slmrec.compress.graph import FLOAT, INT64, Graph
from slmrec.models.servable import open_graph


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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(model.SerializeToString())
        session = open_graph(path, 1)
    return session.run(["y"], {"x": given})[0], model


def types(model: onnx.ModelProto) -> set[int]:
    return {tensor.data_type for tensor in model.graph.initializer}
