"""Training a teacher of any kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from slmrec.config import TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.checkpoint import Storable
from slmrec.progress import Progress
from slmrec.training.ensemble import train_ensemble
from slmrec.training.loop import TrainingResult, TrainingSpeed
from slmrec.training.pretrain import train_network


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
    item_table: Tensor | None,
    config: TrainTeacher,
    progress: Progress,
    checkpoints: Path | None = None,
) -> TrainedTeacher:
    """Train the teacher that the settings describe; `checkpoints` as `train` takes it.

    `item_table` [items + 1, any width] is what its embeddings start from where the settings want that.
    """
    table = item_table if config.item_embeddings == "pretrained" else None
    if config.kind != "ensemble":
        model, training, speed = train_network(sequences, table, config, progress, checkpoints)
        return TrainedTeacher(model, training, speed, None)
    trained = train_ensemble(sequences, table, config, progress, checkpoints)
    report = {"validation_ndcg_at_10": dict(trained.quality), "gains": trained.ensemble.gains}
    return TrainedTeacher(trained.ensemble, trained.training, trained.speed, report)
