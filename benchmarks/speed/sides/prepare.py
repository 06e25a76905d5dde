"""Make what the other sides start from, once: sequences, training interactions for peers, models.

    python -m benchmarks.speed.sides.prepare LOG FOLDER [--models]

Models have the sizes of `pipeline/configs/default.yaml` and learn for one epoch: a model is as fast
however much it knows. What is there is not made again.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from components.build_sequences.step import run as build_sequences
from components.cache_teacher.step import run as cache_teacher
from components.distill_student.step import run as distill_student
from components.ingest_interactions.step import run as ingest_interactions
from components.pretrain_items.step import run as pretrain_items
from components.prune_student.step import run as prune_student
from components.quantize_student.step import run as quantize_student
from components.snapshot_source.step import run as snapshot_source
from components.train_teacher.step import run as train_teacher
from components.validate_data.step import run as validate_data
from pipeline.paths import ROOT
from slmrec.config import DistillStudent, PipelineConfig, PretrainItems, TrainTeacher
from slmrec.config_file import load_config
from slmrec.data.sequences import Sequences, load_sequences

Trains = TypeVar("Trains", PretrainItems, TrainTeacher, DistillStudent)
SPLIT = '{"split": "leave_one_out"}'
DEFAULT = ROOT / "pipeline" / "configs" / "default.yaml"


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", action="store_true", help="models, too")
    asked = parser.parse_args()
    folder: Path = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sequences").exists():
        make_sequences(asked.log, folder)
    sequences = load_sequences(str(folder / "sequences"))
    if not (folder / "training.parquet").exists():
        training_interactions(sequences).write_parquet(folder / "training.parquet")
    if asked.models:
        make_models(folder)
    told = {
        "users": sequences.users,
        "items": sequences.item_count,
        "interactions": sequences.interactions,
    }
    print(json.dumps(told))


def make_sequences(log: str, folder: Path) -> None:
    """The four steps of data, by the steps themselves."""
    digest = str(snapshot_source(log, "", str(folder / "registry"), "", "{}")["digest"])
    ingest_interactions(log, "", digest, "{}", str(folder / "log"))
    validate_data(str(folder / "log"), "", "{}", str(folder / "verdict"))
    build_sequences(str(folder / "log"), str(folder / "verdict"), SPLIT, str(folder / "sequences"))


def training_interactions(sequences: Sequences) -> pl.DataFrame:
    """Users, items and their order, without what validates and tests."""
    ends = sequences.train_end
    lengths = ends - sequences.offsets[:-1]
    user = np.repeat(np.arange(sequences.users), lengths)
    position = np.arange(len(user)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    item = sequences.items[sequences.offsets[user] + position].astype(np.int64)
    return pl.DataFrame({"user": user, "item": item, "position": position})


def default_settings() -> PipelineConfig:
    """What `pipeline/configs/default.yaml` says."""
    return load_config(DEFAULT)


def make_models(folder: Path) -> None:
    """SASRec, teacher, cache, student and its variants; each learns for one epoch."""
    settings = default_settings()
    sequences, sasrec, teacher, cache, student = (
        str(folder / name) for name in ("sequences", "sasrec", "teacher", "cache", "student")
    )
    if not Path(sasrec).exists():
        pretrain_items(sequences, briefly(settings.pretrain_items).to_json(), sasrec)
    if not Path(teacher).exists():
        train_teacher(sequences, sasrec, briefly(settings.train_teacher).to_json(), teacher)
    if not Path(cache).exists():
        cache_teacher(sequences, teacher, "0/1", settings.cache_teacher.to_json(), cache)
    distilled = briefly(settings.distill_student).to_json()
    if not Path(student).exists():
        distill_student(sequences, teacher, [cache], distilled, student)
    for variant in settings.variants:
        pruned, servable = (str(folder / f"{part}{variant.name}") for part in ("pruned-of-", ""))
        if not Path(servable).exists():
            shutil.rmtree(pruned, ignore_errors=True)
            prune_student(sequences, student, [cache], variant.to_json(), distilled, pruned)
            quantize_student(sequences, pruned, variant.to_json(), servable)


def briefly(settings: Trains) -> Trains:
    """The same for one epoch."""
    once = settings.training.model_copy(update={"epochs": 1})
    return settings.model_copy(update={"training": once})


if __name__ == "__main__":
    main()
