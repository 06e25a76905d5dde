"""Weights on disk: safetensors beside the shape they fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from slmrec.artifacts import Artifact, write_json
from slmrec.errors import ArtifactError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import SequenceEncoder
from slmrec.models.pretrained import PretrainedDecoder, PretrainedShape, build_decoder
from slmrec.models.sasrec import SASRec, SASRecShape

WEIGHTS = "weights.safetensors"
SHAPE = "shape.json"

Storable = SASRec | Decoder | PretrainedDecoder

_BUILDERS: Mapping[str, Callable[[Any], Storable]] = {
    "SASRec": lambda described: SASRec(SASRecShape.model_validate(described)),
    "Decoder": lambda described: Decoder(DecoderShape.model_validate(described)),
    "PretrainedDecoder": lambda described: build_decoder(PretrainedShape.model_validate(described)),
}


def write_model(directory: Path, model: Storable) -> None:
    """Write weights and shape into an artifact's staging directory.

    A `PretrainedDecoder` is stored whole, so nobody needs the checkpoint it came from; its adapters
    are merged before.
    """
    if isinstance(model, PretrainedDecoder):
        model.merge_adapters()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, directory / WEIGHTS)
    write_json(directory / SHAPE, {"model": type(model).__name__, **model.shape.model_dump()})


def load_model(artifact: Artifact) -> SequenceEncoder:
    """Rebuild the model of an artifact, in evaluation mode.

    Raises `ArtifactError` when the weights do not fit the shape.
    """
    described = artifact.json(SHAPE)
    name = described.pop("model")
    if name not in _BUILDERS:
        raise ArtifactError(
            f"{artifact.file(SHAPE)}: unknown model '{name}', expected one of {', '.join(_BUILDERS)}"
        )
    model = _BUILDERS[name](described)
    try:
        # Assigned, not copied: billions of weights need not exist twice.
        model.load_state_dict(load_file(artifact.file(WEIGHTS)), assign=True)
    except RuntimeError as error:
        raise ArtifactError(
            f"{artifact.file(WEIGHTS)}: the weights do not fit {SHAPE}: {error}"
        ) from None
    return model.eval()


def load_decoder(artifact: Artifact) -> Decoder:
    """`load_model`, for the places where only a decoder will do. Raises `ArtifactError`."""
    model = load_model(artifact)
    if not isinstance(model, Decoder):
        raise ArtifactError(f"{artifact.path}: holds a {type(model).__name__}, expected a Decoder")
    return model


@torch.inference_mode()
def item_table(artifact: Artifact) -> torch.Tensor:
    """The item embeddings of a stored model: float32 [items + 1, width]."""
    table: torch.Tensor = load_model(artifact).items.weight
    return table.detach().clone()
