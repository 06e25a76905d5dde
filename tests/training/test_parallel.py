"""Two processes on this machine against one."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slmrec.training.batches import Batch, pack, packed_batches, training_windows
from slmrec.training.parallel import World
from tests.training.small_training import circles, small_training

JOB = Path(__file__).with_name("small_training.py")
CPU = torch.device("cpu")


def two_processes(trainings: dict[Path, dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Train one after the other: processes take longer to start than to train."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words: list[str] = []
    for out, settings in trainings.items():
        out.mkdir(exist_ok=True)
        words += [str(out), json.dumps(settings)]
    return subprocess.run(
        [sys.executable, *torchrun, str(JOB), *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def outcome(out: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return load_file(out / "weights.safetensors"), json.loads((out / "result.json").read_text())


LIKE_ONE = {loss: {"dropout": 0.0, "loss": loss, "half_life": 30.0} for loss in ("softmax", "gbce")}


@dataclass(frozen=True)
class Trained:
    """What two processes made, and said."""

    folder: Path
    stopped: subprocess.CompletedProcess[str]
    checkpoints: list[str]
    resumed: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One training that is stopped, goes on and is done at once; two to compare with one process."""
    folder = tmp_path_factory.mktemp("trained")
    checkpoints = str(folder / "checkpoints")
    stopped = two_processes({folder / "out": {"checkpoints": checkpoints, "stop_at": 17}})
    left = os.listdir(checkpoints)
    rest = {folder / loss: settings for loss, settings in LIKE_ONE.items()}
    resumed = two_processes(
        {folder / "out": {"checkpoints": checkpoints}, folder / "whole": {}} | rest
    )
    assert resumed.returncode == 0, resumed.stderr
    return Trained(folder, stopped, left, resumed)


@pytest.mark.parametrize("loss", LIKE_ONE)
def test_two_processes_train_as_one_does(trained: Trained, loss: str) -> None:
    assert "Warning" not in trained.resumed.stderr
    weights, result = outcome(trained.folder / loss)
    expected_weights, expected = small_training(**LIKE_ONE[loss])
    assert len(result["history"]) == len(expected.history)
    for mine, theirs in zip(result["history"], expected.history, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)
    for name, tensor in expected_weights.items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-3, rtol=1e-3)


def test_two_processes_go_on_where_they_were_stopped(trained: Trained) -> None:
    assert trained.stopped.returncode == 1
    assert "Stopped" in trained.stopped.stderr
    assert trained.checkpoints == ["epoch-000003"]
    # the first step after three epochs of five
    assert trained.resumed.stdout.splitlines()[0] == "16"
    (weights, result), (expected_weights, expected) = (
        outcome(trained.folder / name) for name in ("out", "whole")
    )
    assert result == expected
    for name, tensor in expected_weights.items():
        assert torch.equal(weights[name], tensor), name


@pytest.fixture
def batch() -> Batch:
    sequences = circles()
    windows = training_windows(sequences, 8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    weights = np.linspace(0.5, 2.0, sequences.interactions, dtype=np.float32)
    return next(iter(packed_batches(sequences, windows, packing, 40, weights)))  # 5 rows


def test_parts_hold_every_row_once_and_add_up_to_the_batch(batch: Batch) -> None:
    parts = [World(rank, 2, CPU).part(batch) for rank in range(2)]
    rows = [row for part, _ in parts for row in part.source.tolist()]
    assert sorted(rows) == sorted(batch.source.tolist())
    assert sum(share for _, share in parts) == pytest.approx(1.0)

    def weighted_mean(rows: Batch) -> float:
        values = rows.items.float()  # stands for a loss at each position
        return float((rows.weights * values).sum() / rows.weights.sum())

    total = sum(share * part.weight_scale * weighted_mean(part) for part, share in parts)
    assert total == pytest.approx(weighted_mean(batch), rel=1e-5)


def test_process_without_a_row_computes_the_first_one_and_counts_nothing(batch: Batch) -> None:
    part, share = World(6, 7, CPU).part(batch)
    assert part.items.tolist() == batch.items[:1].tolist()
    assert share == 0.0


def test_process_alone_takes_the_batch_as_it_is(batch: Batch) -> None:
    alone = World.joined(CPU)
    assert alone.leads
    part, share = alone.part(batch)
    assert part is batch
    assert share == 1.0
    assert alone.total(torch.tensor([2.0])).tolist() == [2.0]
