"""A job on sixty users who walk a circle, with trainings that take a moment."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from slmrec.artifacts import publish
from slmrec.config_file import parse_config
from slmrec.data.sequences import Sequences, load_sequences
from slmrec.studies.job import Job
from slmrec.studies.kept import Kept
from slmrec.studies.report import Report

TINY = {"epochs": 2, "batch_tokens": 128, "learning_rate": 0.01, "precision": "float32"}
SETTINGS = {
    "pretrain_items": {
        "width": 16,
        "layers": 1,
        "max_length": 8,
        "training": TINY | {"dropout": 0.2},
    },
    "train_teacher": {
        "width": 16,
        "layers": 4,
        "feed_forward": 16,
        "max_length": 8,
        "training": TINY,
    },
    "cache_teacher": {"blocks": 2, "top_k": 4, "shards": 1},
    "distill_student": {"layers": 2, "training": TINY},
    "evaluate_models": {"resamples": 200, "latency_requests": 10},
}


@pytest.fixture
def stored(tmp_path: Path, cycles: Sequences) -> Sequences:
    """The circle as an artifact."""
    place = tmp_path / "sequences"
    properties = {"items": cycles.item_count, "split": "leave_one_out"}
    with publish(place, "sequences", properties=properties) as staging:
        for name in ("offsets", "items", "timestamps", "train_end", "validation_end"):
            np.save(staging / f"{name}.npy", getattr(cycles, name))
        catalogue = pl.DataFrame({"item_index": range(1, cycles.item_count + 1)})
        catalogue.write_parquet(staging / "items.parquet")
        users = pl.DataFrame({"user_id": [f"user-{user}" for user in range(cycles.users)]})
        users.write_parquet(staging / "users.parquet")
    return load_sequences(place)


@pytest.fixture
def make_job(tmp_path: Path, stored: Sequences) -> Callable[..., Job]:
    """A job that writes to `output` and keeps what it trains in `work`."""

    def make(study: str, *, output: str = "study", work: str = "work", **options: object) -> Job:
        defaults = {
            "study": study,
            "data": "circle.csv",
            "sequences": tmp_path / "sequences",
            "output": tmp_path / output,
            "work": tmp_path / work,
            "events": tmp_path / "events.jsonl",
            "config": parse_config(SETTINGS, "test"),
            "settings_digest": "0123456789abcdef",
            "command": f"python -m pipeline study {study} --interactions circle.csv",
            "seeds": 2,
            "depths": (1, 2),
        }
        return Job(**(defaults | options))

    return make


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "work", Report(tmp_path / "events.jsonl", "test"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the training functions that were called, in order."""
    calls: list[str] = []

    def counted(name: str) -> None:
        original = getattr(module, name)

        def call(*args: object, **kwargs: object) -> object:
            calls.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    from slmrec.studies import trainings as module

    for name in ("train_sasrec", "train_teacher", "make_student"):
        counted(name)
    return calls


@pytest.fixture
def events(tmp_path: Path) -> Callable[[str], list[dict]]:
    """Events of one kind that a study appended, in order."""

    def of(kind: str) -> list[dict]:
        lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    return of


@pytest.fixture
def make_row() -> Callable[..., dict]:
    """A row of a study with planted numbers: NDCG@10, and differences with their intervals."""
    numbers = itertools.count(1)

    def make(ndcg: float, name: str = "", **versus: tuple[float, float, float]) -> dict:
        return {
            "name": name or f"model-{next(numbers)}",
            "metrics": {
                metric: {"value": ndcg, "ci95": [ndcg - 0.01, ndcg + 0.01]}
                for metric in ("ndcg@10", "hr@10")
            },
            "by_seed": [ndcg],
            "versus": {
                other.replace("_", "-"): {"difference": value, "ci95": [low, high], "p": 0.5}
                for other, (value, low, high) in versus.items()
            },
            "parameters_backbone": 100,
        }

    return make
