"""`cache_teacher` on a full disk, killed, and a second time."""

import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from components.cache_teacher.step import run as cache_teacher
from components.runtime import TEACHER_CACHE_VARIABLE
from slmrec.artifacts import publish
from slmrec.config import CacheTeacher
from slmrec.data.sequences import load_sequences
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.models.checkpoint import write_model
from slmrec.models.decoder import Decoder, DecoderShape

CONFIG = CacheTeacher(blocks=2, top_k=5, batch_tokens=16).to_json()
BOTH_SHARDS = """
import sys
from pathlib import Path

from components.cache_teacher.step import run
from slmrec.distillation.teachers import NetworkTeacher

sequences, teacher, config, folder = sys.argv[1:]
read = NetworkTeacher.read
calls = 0


def read_ten_batches(self, *arguments, **options):
    global calls
    calls += 1
    if calls == 10:
        (Path(folder) / "stuck").touch()
        sys.stdin.read()  # until the end, which comes by a kill
    return read(self, *arguments, **options)


run(sequences, teacher, "0/2", config, f"{folder}/0")
NetworkTeacher.read = read_ten_batches
run(sequences, teacher, "1/2", config, f"{folder}/1")
"""


@pytest.fixture
def sequences(tmp_path: Path) -> str:
    offsets = np.arange(0, 60 * 9 + 1, 9)
    arrays = {
        "offsets": offsets,
        "items": np.arange(60 * 9, dtype=np.int32) % 12 + 1,
        "timestamps": np.arange(60 * 9),
        "train_end": offsets[1:] - 2,
        "validation_end": offsets[1:] - 1,
    }
    with publish(tmp_path / "sequences", "sequences", properties={"items": 12}) as staging:
        for name, array in arrays.items():
            np.save(staging / f"{name}.npy", array)
        users = pl.DataFrame({"user_id": [f"u{n}" for n in range(60)]})
        users.write_parquet(staging / "users.parquet")
    return str(tmp_path / "sequences")


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    torch.manual_seed(0)
    shape = DecoderShape(items=12, width=8, heads=2, feed_forward=(8, 8), max_length=4)
    with publish(tmp_path / "teacher", "teacher") as staging:
        write_model(staging, Decoder(shape))
    return str(tmp_path / "teacher")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many positions the teacher was asked about, a number a call."""
    counts: list[int] = []
    read = NetworkTeacher.read

    def count(self, batch, blocks, *, attention=False):
        counts.append(int((batch.targets > 0).sum()))
        return read(self, batch, blocks, attention=attention)

    monkeypatch.setattr(NetworkTeacher, "read", count)
    return counts


def test_step_refuses_when_the_disk_cannot_hold_the_shard(
    sequences: str,
    teacher: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = namedtuple("usage", "total used free")(100, 90, 10)
    monkeypatch.setattr("slmrec.distillation.write_cache.shutil.disk_usage", lambda path: full)
    with pytest.raises(SystemExit) as stopped:
        cache_teacher(sequences, teacher, "0/2", CONFIG, str(tmp_path / "cache"))
    assert stopped.value.code == 4
    assert "MiB left; free some" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_every_shard_is_computed_when_there_is_no_store(
    sequences: str, teacher: str, tmp_path: Path, asked: list[int]
) -> None:
    for name in ("first", "second"):
        said = cache_teacher(sequences, teacher, "0/1", CONFIG, str(tmp_path / name))
        assert said["reused"] is False
    assert sum(asked) == 2 * 60 * 6


def test_at_most_one_shard_is_computed_again_when_the_work_was_killed(
    sequences: str,
    teacher: str,
    tmp_path: Path,
    asked: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, killed, again = (tmp_path / name for name in ("store", "killed", "again"))
    process = subprocess.Popen(
        [sys.executable, "-c", BOTH_SHARDS, sequences, teacher, CONFIG, str(killed)],
        env=os.environ | {TEACHER_CACHE_VARIABLE: str(store)},
        stdin=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (killed / "stuck").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdin.close()
    assert not (killed / "1").exists()  # half a shard is none

    monkeypatch.setenv(TEACHER_CACHE_VARIABLE, str(store))
    said = [
        cache_teacher(sequences, teacher, f"{number}/2", CONFIG, str(again / f"{number}"))
        for number in range(2)
    ]
    assert [shard["reused"] for shard in said] == [True, False]
    assert sum(asked) == said[1]["positions"]
    assert said[0]["headline"].endswith("known from an earlier run")
    cache = TeacherCache([again / "0", again / "1"], load_sequences(sequences))
    assert sum(artifact.properties["positions"] for artifact in cache.artifacts) == 60 * 6
