"""From a torch student to a servable: ONNX graphs that score the catalogue and list the best of it."""

import copy
import json
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import polars as pl
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from safetensors.numpy import save_file
from torch import Tensor, nn

from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.compress.graph import Graph
from slmrec.compress.parity import parity
from slmrec.compress.passes import CONTRIB, shrink_item_table, shrink_layers, shrink_memory
from slmrec.config import Variant
from slmrec.models.decoder import Decoder
from slmrec.models.scorer import History
from slmrec.models.servable import (
    CATALOGUE,
    GRAPH_SCHEMA,
    KIND,
    RECOMMEND,
    SCORES,
    WEIGHTS,
    Servable,
)

OPSET = 18
SMALLEST_EXTERNAL = 1024
"""Bytes; smaller constants stay inside the graphs, larger ones are in one file that both read."""


class _CatalogueScores(nn.Module):
    """The graph that is exported: (items, last) → scores."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, last: Tensor) -> Tensor:
        return self.model.catalogue_scores(items, last)


def export_servable(
    model: Decoder,
    catalogue: pl.DataFrame,
    variant: Variant,
    directory: Path | str,
    *,
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
        "feed_forward_share": variant.feed_forward_share,
        "items": model.shape.items,
        "max_length": model.shape.max_length,
        "parameters_total": model.parameters_total(),
        "parameters_backbone": model.parameters_backbone(),
    }
    graph = export_onnx(model)
    if variant.weights == "int8":
        graph = to_int8(graph)
    with publish(
        Path(directory), KIND, config=variant.to_json(), inputs=inputs, properties=properties
    ) as staging:
        write_graphs(graph, staging)
        catalogue.write_parquet(staging / CATALOGUE)
    artifact = open_artifact(directory, KIND)
    return artifact, parity(model, Servable(artifact, threads=1), sample)


def export_onnx(model: Decoder) -> onnx.ModelProto:
    """The model as an ONNX graph (items, last) → scores, of dynamic batch and length."""
    items = torch.ones(2, 3, dtype=torch.int64)
    last = torch.tensor([2, 1])
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=model.max_length)
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's notes about its own internals
            program = torch.onnx.export(
                _CatalogueScores(model.eval()),
                (items, last),
                input_names=["items", "last"],
                output_names=["scores"],
                dynamic_shapes={"items": {0: batch, 1: length}, "last": {0: batch}},
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        exporter_log.setLevel(level)
    assert program is not None
    graph: onnx.ModelProto = program.model_proto
    _strip_origin(graph)
    return graph


def to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose item table, layers and memory are kept in bytes."""
    made = copy.deepcopy(model)
    made.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    graph = Graph(made)
    shrink_item_table(graph)
    shrink_layers(graph)
    shrink_memory(graph)
    return made


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
        tensor.name: numpy_helper.to_array(tensor)
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


def _strip_origin(model: onnx.ModelProto) -> None:
    """Remove notes of where each node came from: paths of this machine, other on the next one."""
    del model.metadata_props[:]
    parts = [model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info]
    parts += [*model.graph.input, *model.graph.output]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
