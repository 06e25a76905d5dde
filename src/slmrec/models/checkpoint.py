"""Weights on disk: safetensors beside the shape they fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from slmrec.arrays import read_array
from slmrec.artifacts import Artifact, write_json
from slmrec.errors import ArtifactError, SlmrecError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.ensemble import POPULARITY, TRANSITIONS, Ensemble
from slmrec.models.networks import Network
from slmrec.models.popularity import Popularity
from slmrec.models.pretrained import PretrainedDecoder, PretrainedShape, build_decoder
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.models.transitions import Transitions

WEIGHTS = "weights.safetensors"
SHAPE = "shape.json"

ENSEMBLE = "ensemble.json"

Storable = Network | Ensemble

_BUILDERS: Mapping[str, Callable[[Any], Network]] = {
    "SASRec": lambda described: SASRec(SASRecShape.model_validate(described)),
    "Decoder": lambda described: Decoder(DecoderShape.model_validate(described)),
    "PretrainedDecoder": lambda described: build_decoder(PretrainedShape.model_validate(described)),
}


def write_model(directory: Path, model: Storable) -> None:
    """Write weights and shape into an artifact's staging directory.

    A `PretrainedDecoder` is stored whole, so nobody needs the checkpoint it came from; its adapters
    are merged before.
    """
    if isinstance(model, Ensemble):
        _write_ensemble(directory, model)
    else:
        _write_network(directory, model)


def load_model(artifact: Artifact) -> Network:
    """Rebuild the network of an artifact, in evaluation mode.

    Raises `ArtifactError` when the weights do not fit the shape, or the artifact holds an ensemble.
    """
    if ENSEMBLE in artifact.files:
        raise ArtifactError(f"{artifact.path}: holds an ensemble, expected one network")
    return _load_network(artifact)


def load_ensemble(artifact: Artifact) -> Ensemble:
    """Rebuild the ensemble of an artifact. Raises `ArtifactError` when it holds none."""
    described = artifact.json(ENSEMBLE)
    networks = [_load_network(artifact, _of_network(n)) for n in range(described["networks"])]
    counted = {
        name: read_array(artifact, f"{TRANSITIONS}-{name}.npy") for name in described[TRANSITIONS]
    }
    popularity = read_array(artifact, f"{POPULARITY}.npy")
    return Ensemble(
        networks, Transitions.from_arrays(counted), Popularity(popularity), described["gains"]
    )


def _write_ensemble(directory: Path, model: Ensemble) -> None:
    for number, network in enumerate(model.networks):
        _write_network(directory, network, _of_network(number))
    counted = model.transitions.arrays()
    for name, array in counted.items():
        np.save(directory / f"{TRANSITIONS}-{name}.npy", array, allow_pickle=False)
    np.save(directory / f"{POPULARITY}.npy", model.popularity.counts, allow_pickle=False)
    described = {
        "networks": len(model.networks),
        "gains": model.gains,
        TRANSITIONS: sorted(counted),
    }
    write_json(directory / ENSEMBLE, described)


def _of_network(number: int) -> str:
    return f"network-{number}."


def _write_network(directory: Path, model: Network, prefix: str = "") -> None:
    if isinstance(model, PretrainedDecoder):
        model.merge_adapters()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    try:
        save_file(weights, directory / f"{prefix}{WEIGHTS}")
    except SafetensorError as error:  # its own type, also for what the disk refuses
        raise SlmrecError(
            f"{directory / f'{prefix}{WEIGHTS}'}: cannot be written: {error}; free space and run again"
        ) from error
    described = {"model": type(model).__name__, **model.shape.model_dump()}
    write_json(directory / f"{prefix}{SHAPE}", described)


def _load_network(artifact: Artifact, prefix: str = "") -> Network:
    shape, weights = artifact.file(f"{prefix}{SHAPE}"), artifact.file(f"{prefix}{WEIGHTS}")
    described = artifact.json(shape.name)
    name = described.pop("model")
    if name not in _BUILDERS:
        raise ArtifactError(
            f"{shape}: unknown model '{name}', expected one of {', '.join(_BUILDERS)}"
        )
    model = _BUILDERS[name](described)
    try:
        # Assigned, not copied: billions of weights need not exist twice.
        model.load_state_dict(load_file(weights), assign=True)
    except (RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{weights}: the weights do not fit {shape.name}: {error}") from None
    return model.eval()


def load_decoder(artifact: Artifact) -> Decoder:
    """`load_model`, for the places where only a decoder will do. Raises `ArtifactError`."""
    model = load_model(artifact)
    if not isinstance(model, Decoder):
        raise ArtifactError(f"{artifact.path}: holds a {type(model).__name__}, expected a Decoder")
    return model


@torch.inference_mode()
def item_vectors(artifact: Artifact) -> torch.Tensor:
    """The item embeddings of a stored model: float32 [items + 1, width]."""
    table: torch.Tensor = load_model(artifact).items.weight
    return table.detach().clone()
