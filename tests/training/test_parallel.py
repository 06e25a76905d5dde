"""Two processes on this machine against one."""

import json
import os
import subprocess
import sys
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


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    trainings = {
        tmp_path / loss: {"dropout": 0.0, "loss": loss, "half_life": 30.0}
        for loss in ("softmax", "gbce")
    }
    finished = two_processes(trainings)
    assert finished.returncode == 0, finished.stderr
    assert "Warning" not in finished.stderr
    for out, settings in trainings.items():
        weights, result = outcome(out)
        expected_weights, expected = small_training(**settings)
        assert len(result["history"]) == len(expected.history)
        for mine, theirs in zip(result["history"], expected.history, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5)
        for name, tensor in expected_weights.items():
            torch.testing.assert_close(weights[name], tensor, atol=1e-3, rtol=1e-3)


def test_two_processes_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    checkpoints = str(tmp_path / "checkpoints")
    stopped = two_processes({tmp_path / "out": {"checkpoints": checkpoints, "stop_at": 17}})
    assert stopped.returncode == 1
    assert "Stopped" in stopped.stderr
    assert os.listdir(checkpoints) == ["epoch-000003"]
    resumed = two_processes(
        {tmp_path / "out": {"checkpoints": checkpoints}, tmp_path / "whole": {}}
    )
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[0] == "16"  # the first step after three epochs of five
    (weights, result), (expected_weights, expected) = (
        outcome(tmp_path / name) for name in ("out", "whole")
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
