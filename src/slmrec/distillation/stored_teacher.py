"""A stored teacher of any kind: as the cache asks it, and as a student starts from it."""

from slmrec.artifacts import Artifact
from slmrec.data.sequences import Sequences
from slmrec.distillation.ensemble_teacher import EnsembleTeacher
from slmrec.distillation.teachers import DecoderTeacher, Teacher
from slmrec.errors import ArtifactError
from slmrec.models.checkpoint import ENSEMBLE, load_ensemble, load_model
from slmrec.models.decoder import Decoder
from slmrec.models.pretrained import PretrainedDecoder
from slmrec.models.transitions import Transitions


def open_teacher(artifact: Artifact, sequences: Sequences) -> Teacher:
    """Open a teacher artifact to be asked about the training histories of `sequences`.

    Raises `ArtifactError` when it holds a model that cannot teach.
    """
    if ENSEMBLE in artifact.files:
        return EnsembleTeacher(load_ensemble(artifact), sequences)
    model = load_model(artifact)
    if not isinstance(model, Decoder | PretrainedDecoder):
        raise ArtifactError(f"{artifact.path}: holds a {type(model).__name__}, which cannot teach")
    return DecoderTeacher(model)


def starting_decoder(artifact: Artifact) -> Decoder | None:
    """The decoder whose weights a student may start from: an ensemble's first; none in others."""
    if ENSEMBLE in artifact.files:
        return load_ensemble(artifact).networks[0]
    model = load_model(artifact)
    return model if isinstance(model, Decoder) else None


def counted_transitions(artifact: Artifact) -> Transitions | None:
    """The item transitions that a teacher knows; none where it has no such member."""
    return load_ensemble(artifact).transitions if ENSEMBLE in artifact.files else None
