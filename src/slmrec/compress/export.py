"""From a torch student to a servable: ONNX graphs that score the catalogue and list the best of it."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from safetensors.numpy import save_file

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.compress.forward import write_forward
from slmrec.compress.parity import parity
from slmrec.compress.storage import Storage
from slmrec.config import Variant
from slmrec.models.decoder import Decoder
from slmrec.models.scorer import History
from slmrec.models.servable import (
    CATALOGUE,
    GRAPH_SCHEMA,
    KIND,
    PARITY,
    RECOMMEND,
    SCORES,
    WEIGHTS,
)

SMALLEST_EXTERNAL = 1024
"""Bytes; smaller constants stay inside the graphs, larger ones are in one file that both read."""


def export_servable(
    model: Decoder,
    catalogue: pl.DataFrame,
    variant: Variant,
    directory: Path | str,
    *,
    calibration: Sequence[History],
    sample: Sequence[History],
    inputs: Mapping[str, Artifact],
) -> tuple[Artifact, dict[str, float]]:
    """Export, quantize as the variant says, compare with the torch model, publish.

    `catalogue` has the columns `ItemIndex`; `sample` are histories for the comparison. Returns the
    artifact and the parity figures.
    """
    properties: dict[str, Any] = {
        "name": variant.name,
        "graph_schema": GRAPH_SCHEMA,
        "weights": variant.weights,
        "items": model.shape.items,
        "max_length": model.shape.max_length,
        "parameters_total": model.parameters_total(),
        "parameters_backbone": model.parameters_backbone(),
    }
    storage = Storage.of(model, variant, calibration)
    graph = write_forward(storage)
    with publish(
        Path(directory), KIND, config=variant.to_json(), inputs=inputs, properties=properties
    ) as staging:
        write_graphs(graph, staging)
        catalogue.write_parquet(staging / CATALOGUE)
        figures = parity(model, storage, staging / SCORES, sample)
        write_json(staging / PARITY, figures)
    return open_artifact(directory, KIND), figures


def with_lists(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that lists the best items instead of scoring all: (items, last, seen, k) → lists.

    `seen` int64 [batch, any number] are never listed, one 0 (padding) among them; `k` int64 [1]. Gives
    `best_items` int64 and `best_scores` float32 [batch, k], ties to the smaller index.
    """
    made = copy.deepcopy(model)
    graph = made.graph
    lowest = helper.make_tensor("lowest", TensorProto.FLOAT, [1], [float("-inf")])
    graph.initializer.append(lowest)
    graph.node.extend(
        [
            helper.make_node("Shape", ["seen"], ["seen_shape"]),
            helper.make_node("Expand", ["lowest", "seen_shape"], ["seen_scores"]),
            helper.make_node(
                "ScatterElements", ["scores", "seen", "seen_scores"], ["open_scores"], axis=1
            ),
            helper.make_node("TopK", ["open_scores", "k"], ["best_scores", "best_items"], axis=1),
        ]
    )
    int64, float32 = TensorProto.INT64, TensorProto.FLOAT
    graph.input.append(helper.make_tensor_value_info("seen", int64, ["batch", "seen_length"]))
    graph.input.append(helper.make_tensor_value_info("k", int64, [1]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("best_items", int64, ["batch", "best"]))
    graph.output.append(helper.make_tensor_value_info("best_scores", float32, ["batch", "best"]))
    return made


def write_graphs(model: onnx.ModelProto, directory: Path) -> None:
    """Write both graphs, which share one file of weights, and check them.

    The weights are a safetensors file, whose bytes the graphs name by their places in it.
    """
    scores = copy.deepcopy(model)
    large = {
        tensor.name: _storable(numpy_helper.to_array(tensor))
        for tensor in scores.graph.initializer
        if math.prod(tensor.dims) * _size(tensor) >= SMALLEST_EXTERNAL
    }
    save_file(large, directory / WEIGHTS)
    places = _places(directory / WEIGHTS)
    for tensor in scores.graph.initializer:
        if tensor.name in places:
            offset, length = places[tensor.name]
            set_external_data(tensor, WEIGHTS, offset, length)
            tensor.ClearField("raw_data")
    for name, graph in ((SCORES, scores), (RECOMMEND, with_lists(scores))):
        (directory / name).write_bytes(graph.SerializeToString(deterministic=True))
        onnx.checker.check_model(str(directory / name), full_check=True)


def _storable(values: Any) -> Any:
    # numpy has no bfloat16 that safetensors would take; the graph says what the bytes are.
    return values.view(np.uint16) if values.dtype == ml_dtypes.bfloat16 else values


def _size(tensor: onnx.TensorProto) -> int:
    return helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Where each tensor of a safetensors file lies: its first byte and how many there are."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    return {
        name: (8 + size + begin, end - begin)
        for name, (begin, end) in ((n, entry["data_offsets"]) for n, entry in header.items())
    }
