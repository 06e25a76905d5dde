"""Weights on disk: safetensors beside the shape they fit."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from slmrec.artifacts import Artifact, write_json
from slmrec.errors import ArtifactError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import SequenceEncoder
from slmrec.models.sasrec import SASRec, SASRecShape

WEIGHTS = "weights.safetensors"
SHAPE = "shape.json"


def write_model(directory: Path, model: SASRec | Decoder) -> None:
    """Write weights and shape into an artifact's staging directory."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, directory / WEIGHTS)
    write_json(directory / SHAPE, {"model": type(model).__name__, **model.shape.model_dump()})


def load_model(artifact: Artifact) -> SequenceEncoder:
    """Rebuild the model of an artifact, in evaluation mode.

    Raises `ArtifactError` when the weights do not fit the shape.
    """
    described = artifact.json(SHAPE)
    name = described.pop("model")
    model: SequenceEncoder
    if name == "SASRec":
        model = SASRec(SASRecShape.model_validate(described))
    elif name == "Decoder":
        model = Decoder(DecoderShape.model_validate(described))
    else:
        raise ArtifactError(
            f"{artifact.file(SHAPE)}: unknown model '{name}', expected SASRec or Decoder"
        )
    try:
        model.load_state_dict(load_file(artifact.file(WEIGHTS)))
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
