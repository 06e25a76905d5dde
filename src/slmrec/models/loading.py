"""Open any stored model as a `Scorer`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from slmrec.artifacts import open_artifact
from slmrec.models.checkpoint import ENSEMBLE, WEIGHTS, load_ensemble, load_model
from slmrec.models.encoder import SequenceEncoder, right_padded
from slmrec.models.ensemble import Ensemble
from slmrec.models.scorer import History, Scorer
from slmrec.models.servable import KIND as SERVABLE
from slmrec.models.servable import Servable


class TorchScorer:
    """A stored torch model behind the `Scorer` interface."""

    def __init__(self, model: SequenceEncoder, name: str, stored_bytes: int) -> None:
        self.model = model.eval()
        self.name = name
        self.bytes = stored_bytes
        self.parameters_total = model.parameters_total()
        self.parameters_backbone = model.parameters_backbone()

    @torch.inference_mode()
    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Scores of every item: float32 [histories, items + 1]."""
        items, last = right_padded(list(histories), self.model.max_length)
        scores: NDArray[np.float32] = self.model.catalogue_scores(items, last).numpy()
        return scores

    @torch.inference_mode()
    def run_layers(self, histories: Sequence[History]) -> torch.Tensor:
        """States after the newest items: [histories, width]."""
        return self.model.last_states(*right_padded(list(histories), self.model.max_length))


class EnsembleScorer:
    """A stored ensemble behind the `Scorer` interface."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.name = ensemble.name
        self.bytes = ensemble.bytes
        self.parameters_total = ensemble.parameters_total()
        self.parameters_backbone = ensemble.parameters_backbone()

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Scores of every item: float32 [histories, items + 1]."""
        return self.ensemble.scores(histories)

    @torch.inference_mode()
    def run_layers(self, histories: Sequence[History]) -> list[torch.Tensor]:
        """States of every network after the newest items: [histories, width] each."""
        items, last = right_padded(list(histories), self.ensemble.max_length)
        return [network.last_states(items, last) for network in self.ensemble.networks]


def load_scorer(directory: Path | str, threads: int = 0) -> Scorer:
    """Open a model artifact of any kind.

    `threads` is for ONNX Runtime, 0: as many as this process may use; torch uses its own setting.
    Raises `ArtifactError` when the artifact is not whole.
    """
    artifact = open_artifact(directory)
    if artifact.kind == SERVABLE:
        return Servable(artifact, threads)
    if ENSEMBLE in artifact.files:
        return EnsembleScorer(load_ensemble(artifact))
    return TorchScorer(
        load_model(artifact),
        str(artifact.properties["name"]),
        artifact.file(WEIGHTS).stat().st_size,
    )
