"""Row 20: at ten million interactions no step takes more memory than `resources.yaml` allows it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.resources import load_resources
from tests.faults.conftest import Tell
from tests.faults.tiny import STEPS, finish, start

USERS, ITEMS, INTERACTIONS = 400_000, 2_000, 10_000_000
QUICK = {
    "pretrain_items.training.epochs": 1,
    "train_teacher.training.epochs": 1,
    "train_teacher.ensemble.folds": 2,
    "train_teacher.width": 64,
    "train_teacher.feed_forward": 128,
    "distill_student.training.epochs": 1,
    "distill_student.width": 64,
    "distill_student.heads": 2,
    "distill_student.feed_forward": 128,
    "pretrain_items.width": 64,
    "pretrain_items.layers": 1,
}
"""What of `pipeline/configs/default.yaml` takes hours and next to no memory beside such a log."""


@pytest.mark.faults
def test_every_step_stays_within_its_declared_memory_at_ten_million_interactions(
    code: Path, tmp_path: Path, tell: Tell
) -> None:
    log = tmp_path / "log.parquet"
    made = ["--users", f"{USERS}", "--items", f"{ITEMS}", "--interactions", f"{INTERACTIONS}"]
    subprocess.run(
        [sys.executable, "-m", "pipeline", "datasets", "sample", "--output", str(log), *made],
        cwd=code,
        check=True,
    )
    chosen = [f"--set={name}={value}" for name, value in QUICK.items()]
    config = ["--config", str(code / "pipeline" / "configs" / "default.yaml")]
    runs = []
    for _ in range(2):  # the second one has a model in production to monitor
        process = start(
            code,
            tmp_path / "home",
            "--interactions",
            str(log),
            *config,
            *chosen,
            OMP_NUM_THREADS=f"{os.cpu_count()}",
        )
        runs.append(finish(process, 6 * 3600))
    assert pl.scan_parquet(log).select(pl.len()).collect().item() == INTERACTIONS
    assert runs[0]["promoted"] is not None
    measured, beyond = judge(runs)
    tell(
        20,
        "memory stays within the declared limit of each step",
        f"each step at {INTERACTIONS:,} interactions",
        measured,
    )
    assert beyond == {}


def judge(runs: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, float]]:
    """What is told of the runs' summaries, and the steps that took more than they may, in GB."""
    peaks: dict[str, float] = {}
    for step in (one for run in runs for one in run["steps"] if not one["cached"]):
        name = step["name"].partition("[")[0]
        peaks[name] = max(peaks.get(name, 0.0), step["peak_rss_mb"] * 2**20 / 1e9)
    assert set(peaks) == set(STEPS)
    resources = load_resources()
    allowed = {name: resources.of(name).memory_gb for name in peaks}
    beyond = {name: peak for name, peak in peaks.items() if peak > allowed[name]}
    kept = runs[0]["data"]["interactions"]
    measured = (
        f"{INTERACTIONS:,} interactions of {USERS:,} users and {ITEMS:,} items, {kept:,} of them in "
        "sequences, `pipeline/configs/default.yaml` with one epoch, two networks and width 64; GB of "
        "the largest process of GB declared: "
        + ", ".join(f"{name} {peaks[name]:.1f} of {allowed[name]:g}" for name in STEPS)
    )
    return measured, beyond
