import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from tests.pipeline.fetching.conftest import bucket, start  # noqa: F401 - fixtures here, too

ROOT = Path(__file__).resolve().parents[2]

TINY = [
    "pretrain_items.width=16",
    "pretrain_items.layers=1",
    "pretrain_items.training.epochs=2",
    "train_teacher.width=16",
    "train_teacher.feed_forward=32",
    "train_teacher.training.epochs=2",
    "distill_student.training.epochs=2",
    "monitor_drift.min_users=20",
    "evaluate_models.resamples=200",
    "evaluate_models.latency_requests=10",
    "evaluate_models.batch_users=8",
    "evaluate_models.load_processes=1",
]


@dataclass
class Finished:
    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def command() -> Callable[..., Finished]:
    """Run `python -m pipeline …` as a user would."""

    def run(*arguments: str, timeout: float = 600, **environment: str) -> Finished:
        process = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Finished(process.returncode, process.stdout, process.stderr)

    return run


@pytest.fixture
def command_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """The same in this process, which starts in no time: what is said and with which exit code."""

    def run(*arguments: str, **environment: str) -> Finished:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["python -m pipeline", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Finished(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """`--set` arguments that make every training take a moment."""
    return [part for setting in TINY for part in ("--set", setting)]
