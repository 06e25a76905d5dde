"""From a torch student to a servable: ONNX in float32, or in int8 by dynamic quantization."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.config import Variant
from slmrec.models.decoder import Decoder
from slmrec.models.loading import TorchScorer
from slmrec.models.scorer import History
from slmrec.models.servable import CATALOGUE, KIND, MODEL, Servable

OPSET = 18


class _CatalogueScores(nn.Module):
    """The graph that is exported: (items, last) → scores."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, last: Tensor) -> Tensor:
        return self.model.catalogue_scores(items, last)


def export_onnx(model: Decoder, path: Path) -> None:
    """Write the model as ONNX with dynamic batch and length, and check the file."""
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
    graph = program.model_proto
    _strip_origin(graph)
    onnx.save(graph, str(path))
    onnx.checker.check_model(str(path), full_check=True)


def _strip_origin(model: onnx.ModelProto) -> None:
    """Remove notes of where each node came from: paths of this machine, other on the next one."""
    del model.metadata_props[:]
    parts = [model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info]
    parts += [*model.graph.input, *model.graph.output]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""


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
    artifact and the parity figures that are also among its properties.
    """
    properties: dict[str, Any] = {
        "name": variant.name,
        "weights": variant.weights,
        "feed_forward_share": variant.feed_forward_share,
        "items": model.shape.items,
        "max_length": model.shape.max_length,
        "parameters_total": model.parameters_total(),
        "parameters_backbone": model.parameters_backbone(),
    }
    with publish(
        Path(directory), KIND, config=variant.to_json(), inputs=inputs, properties=properties
    ) as staging:
        if variant.weights == "float32":
            export_onnx(model, staging / MODEL)
        else:
            unquantized = staging / "float32.onnx"
            export_onnx(model, unquantized)
            quantize_int8(unquantized, staging / MODEL)
            unquantized.unlink()
        catalogue.write_parquet(staging / CATALOGUE)
    artifact = open_artifact(directory, KIND)
    return artifact, parity(model, Servable(artifact, threads=1), sample)


def quantize_int8(source: Path, target: Path) -> None:
    """Dynamic quantization: weights int8 by channel, activations int8 by request."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a pre-processing that an exported graph has had
    try:
        quantize_dynamic(str(source), str(target), per_channel=True, weight_type=QuantType.QInt8)
    finally:
        root.setLevel(level)


def parity(model: Decoder, servable: Servable, sample: Sequence[History]) -> dict[str, float]:
    """How far the servable is from its torch model on sample histories.

    `top10_overlap`: mean share of common items in the two top-10 lists. `score_error`: mean absolute
    difference of scores divided by the standard deviation of the torch scores.
    """
    if not sample:
        return {}
    expected = TorchScorer(model, "torch", 0).scores(sample)[:, 1:]
    found = servable.scores(sample)[:, 1:]
    k = min(10, expected.shape[1])
    overlaps = [
        len(set(a.tolist()) & set(b.tolist())) / k
        for a, b in zip(_top(expected, k), _top(found, k), strict=True)
    ]
    return {
        "top10_overlap": float(np.mean(overlaps)),
        "score_error": float(np.abs(expected - found).mean() / max(expected.std(), 1e-12)),
    }


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]
