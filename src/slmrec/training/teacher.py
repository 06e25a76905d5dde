"""Training a teacher of any kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from slmrec.config import TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.checkpoint import Storable
from slmrec.models.encoder import SequenceEncoder
from slmrec.models.ensemble import COUNTED, Ensemble
from slmrec.progress import Progress
from slmrec.training.ensemble import train_ensemble
from slmrec.training.gains import GAIN_USERS
from slmrec.training.loop import TrainingResult, TrainingSpeed
from slmrec.training.pretrain import train_network
from slmrec.training.validation import validate, validation_sample


@dataclass(frozen=True)
class TrainedTeacher:
    """A teacher and how it came about."""

    model: Storable
    training: TrainingResult
    speed: TrainingSpeed
    report: Mapping[str, Any] | None
    """Of an ensemble: what each member is worth on validation, and how much it counts."""


def train_teacher(
    sequences: Sequences,
    item_vectors: Tensor | None,
    config: TrainTeacher,
    progress: Progress,
    checkpoints: Path | None = None,
) -> TrainedTeacher:
    """Train the teacher that the settings describe; `checkpoints` as `train` takes it.

    `item_vectors` [items + 1, any width] is what its embeddings start from where the settings want it.
    """
    table = item_vectors if config.item_embeddings == "pretrained" else None
    if config.kind != "ensemble":
        model, training, speed = train_network(sequences, table, config, progress, checkpoints)
        return TrainedTeacher(model, training, speed, None)
    trained = train_ensemble(sequences, table, config, progress, checkpoints)
    report = {"validation_ndcg_at_10": dict(trained.quality), "gains": trained.ensemble.gains}
    return TrainedTeacher(trained.ensemble, trained.training, trained.speed, report)


def worth_learning_from(
    trained: TrainedTeacher, sasrec: SequenceEncoder, sequences: Sequences, config: TrainTeacher
) -> str:
    """What the teacher is worth beside simpler models, in a sentence; empty without validation users.

    All on the same validation users: SASRec, which is about as large as a student, and what an ensemble
    has counted and needs no training.
    """
    rng = np.random.default_rng(config.training.seed)
    users, targets = validation_sample(sequences, rng, GAIN_USERS)
    if not len(users):
        return ""
    others = {"SASRec": validate(sasrec, sequences, users, targets)}
    if isinstance(trained.model, Ensemble):
        assert trained.report is not None  # of an ensemble, on these very users
        quality = trained.report["validation_ndcg_at_10"]
        mine = quality["together"]
        others |= {name: quality[name] for name in COUNTED}
    else:
        mine = validate(trained.model, sequences, users, targets)
    beside = ", ".join(f"{name} {value:.4f}" for name, value in others.items())
    sentence = f"validation NDCG@10: teacher {mine:.4f}, {beside}"
    best = max(others, key=others.__getitem__)
    if mine > others[best]:
        return sentence
    return (
        f"{sentence}. The teacher is not better than {best}, so a student has little to learn from it: "
        "tune train_teacher"
    )
