"""Train for some epochs and say how long each took.

    python -m benchmarks.speed.sides.epochs FOLDER MODEL [--epochs N] [--threads N] [--score-every N]

FOLDER is what `prepare` made. MODEL is `sasrec` (the shape that the peers train, too), `network` (one
of the teacher's, over all users), `teacher` (all of them, as `pipeline/configs/default.yaml` has it),
`student` (from the teacher cache), or `student_live` (the teacher is asked about every batch instead).
With `--score-every` NDCG@10 is taken on validation every so many epochs, which their seconds then
include: time them in a call without it.
"""

import argparse
import itertools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from benchmarks.speed.sides.prepare import default_settings
from benchmarks.speed.turns import peak_megabytes
from slmrec.artifacts import open_artifact
from slmrec.config import DistillStudent, PretrainItems, Training, TrainTeacher
from slmrec.data.sequences import Sequences, load_sequences
from slmrec.distillation.cache_format import CachedTeacher, Layout, decode, encode
from slmrec.distillation.distill import distillation_losses
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.stored_teacher import open_teacher
from slmrec.distillation.student import Scaffold, build_student
from slmrec.models.encoder import SequenceEncoder
from slmrec.training.batches import Batch, batch_count, pack, row_capacity, training_windows
from slmrec.training.device import choose_device
from slmrec.training.ensemble import train_ensemble
from slmrec.training.loop import Losses, TrainingResult, train
from slmrec.training.precision import choose_precision
from slmrec.training.pretrain import next_item_loss, train_sasrec
from slmrec.training.teachers import build_network

WARM_UP = 1
"""Epochs that are not told: the first one touches all memory."""


Told = dict[str, Any]


@dataclass
class Clock:
    """Notes when each step of a training ended."""

    stamps: list[float] = field(default_factory=list)

    def update(self, done: float, total: float, note: str = "") -> None:
        """A step has ended."""
        self.stamps.append(time.perf_counter())

    def say(self, message: str) -> None:
        """Ignore."""

    def epochs(self, steps: int) -> list[float]:
        """Seconds of each epoch of so many steps, from the end of one to the end of the next."""
        ends = self.stamps[steps - 1 :: steps]
        return [end - begin for begin, end in itertools.pairwise(ends)]


def main() -> None:
    """Train and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", choices=[*MODELS])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--score-every", type=int, default=0)
    parser.add_argument("--set", type=json.loads, default={}, help="of the training, as JSON")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    sequences = load_sequences(str(asked.folder / "sequences"))
    epochs = asked.epochs + (0 if asked.score_every else WARM_UP)
    changes = {"epochs": epochs, "validate_every": asked.score_every or epochs, **asked.set}
    clock = Clock()
    told = MODELS[asked.model](asked.folder, sequences, changes, clock)
    print(json.dumps({**told, "peak_rss_mb": peak_megabytes()}))


def told_of(
    model: SequenceEncoder,
    sequences: Sequences,
    config: Training,
    result: TrainingResult,
    clock: Clock,
) -> Told:
    """What a training of one network took."""
    windows = training_windows(sequences, model.max_length)
    capacity = row_capacity(windows.length, model.max_length)
    packing = pack(windows.length, capacity, np.random.default_rng(config.seed))
    steps = batch_count(packing, config.batch_tokens)
    return {
        "epoch_seconds": clock.epochs(steps),
        "targets_per_epoch": windows.targets,
        "precision": str(
            choose_precision(config, model.layer_width, choose_device(config.device).type)
        ),
        "flop_per_target": flop_per_target(model, sequences.item_count),
        "ndcg@10": [[one["epoch"], one["ndcg@10"]] for one in result.history if "ndcg@10" in one],
    }


def flop_per_target(model: SequenceEncoder, items: int) -> float:
    """Of a training step: each weight of a matrix is used once forward and twice backward.

    2 operations a weight and use; so is the item table, once as what is scored against. Attention
    between positions, norms and the softmax are left out: the share of the peak is told too low.
    """
    table = model.items.weight
    inner = sum(p.numel() for p in model.parameters() if p.dim() == 2 and p is not table)
    positions = getattr(model, "positions", None)
    inner -= positions.weight.numel() if isinstance(positions, torch.nn.Embedding) else 0
    return 3 * 2 * (inner + items * table.shape[1])


Settings = TypeVar("Settings", PretrainItems, TrainTeacher, DistillStudent)


def changed(settings: Settings, changes: dict[str, object]) -> Settings:
    """The settings with another training."""
    training = settings.training.model_copy(update=changes)
    return settings.model_copy(update={"training": training})


def sasrec(_: Path, sequences: Sequences, changes: dict[str, object], clock: Clock) -> Told:
    """Two layers of 64, as the peers train it."""
    settings = changed(PretrainItems(width=64, heads=2, layers=2, max_length=50), changes)
    model, result, _ = train_sasrec(sequences, settings, clock)
    return told_of(model, sequences, settings.training, result, clock)


def network(_: Path, sequences: Sequences, changes: dict[str, object], clock: Clock) -> Told:
    """One network of the teacher, over all users, learning from the next item alone."""
    settings = changed(default_settings().train_teacher, changes)
    torch.manual_seed(settings.training.seed)
    model = build_network("scratch", sequences, None, settings, clock)

    def loss(batch: Batch, dtype: torch.dtype) -> Losses:
        return next_item_loss(model, batch, dtype, settings.training.max_logit_mib)

    result, _ = train(model, loss, sequences, settings.training, clock)
    return told_of(model, sequences, settings.training, result, clock)


def teacher(_: Path, sequences: Sequences, changes: dict[str, object], clock: Clock) -> Told:
    """All networks of an ensemble, as `train_teacher` trains them; an epoch is one of every network."""
    settings = changed(default_settings().train_teacher, changes)
    trained = train_ensemble(sequences, None, settings, clock)
    return {"epoch_seconds": [trained.speed.epoch_seconds]}


def student(folder: Path, sequences: Sequences, changes: dict[str, object], clock: Clock) -> Told:
    """From what is cached."""
    return distil(folder, sequences, changes, clock, live=False)


def student_live(
    folder: Path, sequences: Sequences, changes: dict[str, object], clock: Clock
) -> Told:
    """From a teacher that is asked about each batch, and says what would be cached."""
    return distil(folder, sequences, changes, clock, live=True)


def distil(
    folder: Path, sequences: Sequences, changes: dict[str, object], clock: Clock, *, live: bool
) -> Told:
    """The same student, losses and batches, whichever way the teacher is heard."""
    settings = changed(default_settings().distill_student, changes)
    stored = open_artifact(folder / "teacher", "teacher")
    cache = TeacherCache([folder / "cache"], sequences, stored)
    torch.manual_seed(settings.training.seed)
    model = build_student(None, sequences, cache, settings, clock)
    scaffold = Scaffold(model.shape.width, cache.blocks, cache.width)
    device = choose_device(settings.training.device)
    asked = open_teacher(stored, sequences, device) if live else None

    def heard(batch: Batch, layout: Layout) -> CachedTeacher:
        if asked is None:
            return cache.read(batch.source[batch.source >= 0].numpy())
        # As `cache_teacher` asks it, not in the numbers that the student trains in.
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            reading = asked.read(batch, layout.blocks, attention=layout.attention)
            arrays = encode(reading, layout)
        return decode(arrays)

    def loss(batch: Batch, dtype: torch.dtype) -> Losses:
        return distillation_losses(
            model,
            scaffold,
            batch,
            heard(batch, cache.layout).to(batch.items.device),
            settings.losses,
            settings.training.max_logit_mib,
            dtype,
        )

    result, _ = train(model, loss, sequences, settings.training, clock, scaffold)
    return told_of(model, sequences, settings.training, result, clock)


MODELS = {
    "sasrec": sasrec,
    "network": network,
    "teacher": teacher,
    "student": student,
    "student_live": student_live,
}


if __name__ == "__main__":
    main()
