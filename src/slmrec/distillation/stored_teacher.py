"""A stored teacher of any kind: as the cache asks it, and as a student starts from it."""

import torch

from slmrec.artifacts import Artifact
from slmrec.data.sequences import Sequences
from slmrec.distillation.ensemble_teacher import EnsembleTeacher
from slmrec.distillation.teachers import NetworkTeacher, Teacher
from slmrec.models.checkpoint import ENSEMBLE, load_ensemble, load_model
from slmrec.models.counted import Counted
from slmrec.models.encoder import SequenceEncoder
from slmrec.training.device import CPU


def open_teacher(artifact: Artifact, sequences: Sequences, device: torch.device = CPU) -> Teacher:
    """Open a teacher artifact to be asked about the training histories of `sequences`.

    What it says lies on `device`, where its networks run.
    """
    if ENSEMBLE in artifact.files:
        return EnsembleTeacher(load_ensemble(artifact), sequences, device)
    return NetworkTeacher(load_model(artifact), device)


def starting_network(artifact: Artifact) -> SequenceEncoder | None:
    """The network whose weights a student may start from.

    None of an ensemble: each has seen most users, and what it remembers of them would be handed over.
    """
    return None if ENSEMBLE in artifact.files else load_model(artifact)


def counted_members(artifact: Artifact) -> Counted | None:
    """What a teacher has counted beside its networks; none where it is no ensemble."""
    if ENSEMBLE not in artifact.files:
        return None
    ensemble = load_ensemble(artifact)
    return Counted(ensemble.transitions, ensemble.popularity, ensemble.gains)
