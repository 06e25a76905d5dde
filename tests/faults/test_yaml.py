"""Row 16: tags, bombs and unknown keys in YAML are refused in a moment, by every reader of it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.resources import load_resources
from pipeline.submission.deployment import load_deployment
from slmrec.config_file import load_config
from slmrec.dashboard.pages.runs import parse_graph
from slmrec.drift.thresholds import DriftThresholds
from slmrec.errors import ConfigError
from slmrec.gates import GatePolicy
from slmrec.policy import load_policy
from tests.faults.conftest import Tell
from tests.faults.hostile_yaml import documents

WENT_OFF = 20.0
"""Seconds of a bomb that went off, and more; docs/reliability.md tells what a refusal takes."""
LONGEST_MESSAGE = 20_000


def graph(path: Path) -> None:
    """The dashboard's reader of a run's pipeline, which answers with `ValueError`."""
    try:
        parse_graph(path.read_bytes())
    except ValueError as error:
        raise ConfigError(str(error)) from None


READERS: dict[str, Callable[[Path], object]] = {
    "settings": load_config,
    "gates": lambda path: load_policy(path, GatePolicy),
    "drift": lambda path: load_policy(path, DriftThresholds),
    "resources": load_resources,
    "deployment": lambda path: load_deployment(path, ["train_teacher"]),
    "graph": graph,
}


def test_hostile_yaml_is_refused_when_any_reader_gets_it(tmp_path: Path, tell: Tell) -> None:
    canary = tmp_path / "ran"
    given = documents(str(canary))
    slowest = 0.0
    for name, text in given.items():
        path = tmp_path / "given.yaml"
        path.write_text(text, encoding="utf-8")
        for reader, read in READERS.items():
            started = time.process_time()  # a busy machine is none of the file's doing
            with pytest.raises(ConfigError) as refused:
                read(path)
            slowest = max(slowest, time.process_time() - started)
            assert slowest < WENT_OFF, (name, reader)
            assert len(str(refused.value)) < LONGEST_MESSAGE, (name, reader)
    assert not canary.exists()
    tell(
        16,
        "YAML tags, alias bombs, unknown keys",
        "refused under 1 s",
        f"{len(given)} documents × {len(READERS)} readers: all refused, nothing ran, "
        f"slowest {slowest:.2f} s of processor time",
    )


def test_an_override_is_refused_when_its_value_is_hostile(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("{}")
    canary = tmp_path / "ran"
    for text in documents(str(canary)).values():
        if len(text) < 100_000:  # a longer argument does not reach a program
            with pytest.raises(ConfigError):
                load_config(path, [f"train_teacher.layers={text}"])
    assert not canary.exists()


def test_settings_are_read_when_they_use_aliases(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "train_teacher: {training: &shared {epochs: 3}}\n"
        "distill_student: {training: {<<: *shared, seed: 5}}\n"
    )
    config = load_config(path)
    assert config.train_teacher.training.epochs == 3
    assert config.distill_student.training.epochs == 3
    assert config.distill_student.training.seed == 5
