"""From a torch student to a servable: ONNX graphs that score the catalogue and list the best of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import polars as pl
from safetensors.numpy import save_file

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.compress.best import add_best
from slmrec.compress.forward import SCORES, with_memory, write_layers
from slmrec.compress.graph import FLOAT, INT64, Graph, Place
from slmrec.compress.parity import parity
from slmrec.compress.storage import Storage
from slmrec.config import Variant
from slmrec.models.decoder import Decoder
from slmrec.models.scorer import History
from slmrec.models.servable import (
    CATALOGUE,
    GRAPH_SCHEMA,
    KIND,
    LAYERS,
    PARITY,
    RECOMMEND,
    WEIGHTS,
)

SMALLEST_EXTERNAL = 1024
"""Bytes; smaller constants stay inside the graphs, larger ones are in one file that all read."""


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
    layers = write_layers(storage)
    lists = with_lists(with_memory(layers, storage))
    with publish(
        Path(directory), KIND, config=variant.to_json(), inputs=inputs, properties=properties
    ) as staging:
        write_graphs({LAYERS: layers, RECOMMEND: lists}, staging)
        catalogue.write_parquet(staging / CATALOGUE)
        figures = parity(model, storage, staging, sample)
        write_json(staging / PARITY, figures)
    return open_artifact(directory, KIND), figures


def with_lists(scoring: Graph) -> Graph:
    """A copy that lists the best items instead of scoring all: (items, last, seen, k) → lists.

    `seen` int64 [batch, any number] are never listed, one 0 (padding) among them; `k` int64 [1]. Gives
    `best_items` int64 and `best_scores` float32 [batch, k], ties to the smaller index.
    """
    graph = scoring.copied()
    columns = scoring.outputs[SCORES][1][1]
    assert isinstance(columns, int)
    graph.inputs |= {"seen": (INT64, ["batch", "seen_length"]), "k": (INT64, [1])}
    graph.outputs = {
        "best_items": (INT64, ["batch", "best"]),
        "best_scores": (FLOAT, ["batch", "best"]),
    }
    lowest = graph.constant("lowest", np.asarray([-np.inf], dtype=np.float32))
    never = graph.call("Expand", lowest, graph.call("Shape", "seen"))
    scores = graph.call("ScatterElements", SCORES, "seen", never, axis=1)
    add_best(graph, scores, columns, "k", ("best_scores", "best_items"))
    return graph


def write_graphs(graphs: Mapping[str, Graph], directory: Path) -> None:
    """Write graphs by the names of their files and check them; they share one file of weights.

    The weights are a safetensors file, whose bytes the graphs name by their places in it.
    """
    large = {
        name: _storable(array)
        for graph in graphs.values()
        for name, array in graph.constants.items()
        if array.nbytes >= SMALLEST_EXTERNAL or name in graph.named
    }
    save_file(large, directory / WEIGHTS)
    places = _places(directory / WEIGHTS)
    for name, graph in graphs.items():
        content = graph.model(places).SerializeToString(deterministic=True)
        (directory / name).write_bytes(content)
        onnx.checker.check_model(str(directory / name), full_check=True)


def _storable(values: Any) -> Any:
    # numpy has no bfloat16 that safetensors would take; the graph says what the bytes are.
    return values.view(np.uint16) if values.dtype == ml_dtypes.bfloat16 else values


def _places(path: Path) -> dict[str, Place]:
    """Where each tensor of a safetensors file lies."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    return {
        name: Place(path.name, 8 + size + begin, end - begin)
        for name, (begin, end) in ((n, entry["data_offsets"]) for n, entry in header.items())
    }
