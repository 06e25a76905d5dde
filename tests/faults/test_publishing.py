"""Row 2: a writer that is killed in mid-write leaves a whole artifact or none."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.paths import ROOT
from slmrec.artifacts import MANIFEST, open_artifact
from slmrec.registry.store import Registry
from tests.faults.conftest import Tell

KILLS, FEW = 100, 8
ARTIFACTS = 1.5
"""A writer is killed within the time that so many artifacts take it."""


class Writer:
    """A process that has all loaded, and forks one that writes whenever it is asked."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.writer", str(folder)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, seed: int) -> int:
        """Have a process write; gives its id once it does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        """End the loaded process."""
        self._process.communicate("")


def seconds_for_one(writer: Writer, folder: Path) -> float:
    """How long a writer takes for an artifact and its copies here and now."""
    began = time.monotonic()
    process = writer.begin(0)
    while not list(folder.glob("registry/versions/*/version.json")):
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    return time.monotonic() - began


def kill_writers(folder: Path, kills: int) -> tuple[int, int]:
    """Kill writers at random moments; how many artifacts were whole, and how many had no manifest."""
    rng = random.Random(2)
    writer = Writer(folder)
    whole, unfinished = 0, 0
    registry, checked = Registry(folder / "registry"), set[int]()
    try:
        longest = ARTIFACTS * seconds_for_one(writer, folder)
        for kill in range(1, kills + 1):
            process = writer.begin(kill)
            time.sleep(rng.uniform(0, longest))
            os.kill(process, signal.SIGKILL)
            places = [place for place in folder.glob("*/*") if place.is_dir()]
            for place in places:
                if (place / MANIFEST).exists():
                    open_artifact(place)
                    whole += 1
                else:
                    unfinished += 1
            new = {version.number for version in registry.versions()} - checked
            for number in new:
                for part in ("model", "evaluation", "timings"):
                    registry.artifact(number, part)
                    whole += 1
            checked |= new
    finally:
        writer.end()
    return whole, unfinished


def test_a_reader_finds_whole_artifacts_only_when_writers_are_killed(tmp_path: Path) -> None:
    whole, unfinished = kill_writers(tmp_path, FEW)
    assert whole > 0
    assert unfinished > 0


@pytest.mark.faults
def test_a_reader_finds_whole_artifacts_only_after_a_hundred_kills(
    tmp_path: Path, tell: Tell
) -> None:
    whole, unfinished = kill_writers(tmp_path, KILLS)
    assert unfinished > 0
    tell(
        2,
        "a reader sees a whole artifact or none",
        "100 kills in mid-write, 0 manifests without their bytes",
        f"{KILLS} kills; {whole:,} artifacts with a manifest, each byte as it says; {unfinished} "
        "folders without one, which no reader opens",
    )
