"""A run that a person ends, and the same command after it."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "sample:users=300,items=120,interactions=6000,seed=3"


def interrupted(arguments: list[str], when: Callable[[], bool]) -> str:
    """What a run printed that was interrupted as a person does it, when the time had come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    left = subprocess.run(["ps", "-eo", "pgid,args"], capture_output=True, text=True).stdout
    assert not [line for line in left.splitlines() if line.split()[0] == str(process.pid)]
    return out


def events(home: Path, run: int) -> list[dict[str, str]]:
    """Of the run with that number, as far as it has come."""
    logs = sorted(home.glob("runs/*/events.jsonl"))[run : run + 1]
    lines = [line for log in logs for line in log.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def steps(home: Path, run: int, event: str) -> set[str]:
    """That a run says something of."""
    return {told["step"] for told in events(home, run) if told["event"] == event}


def test_run_goes_on_where_it_was_interrupted(tiny: list[str], tmp_path: Path) -> None:
    long = ["--set", "train_teacher.training.epochs=40"]
    arguments = ["run", "--interactions", SOURCE, "--home", str(tmp_path), *tiny, *long]
    kept = "checkpoints/*/train_teacher-*/epoch-*/manifest.json"
    out = interrupted(arguments, lambda: bool(list(tmp_path.glob(kept))))
    assert "goes on after the last finished step" in out
    assert not list(tmp_path.glob("cache/artifacts/*/*/train-teacher/teacher/manifest.json"))
    interrupted(arguments, lambda: "train_teacher" in steps(tmp_path, 1, "finished"))
    before = {"ingest_interactions", "validate_data", "build_sequences", "pretrain_items"}
    assert before <= steps(tmp_path, 0, "finished")
    assert steps(tmp_path, 1, "started").isdisjoint(before)
    said = [told.get("text", "") for told in events(tmp_path, 1)]
    assert [text for text in said if re.match(r"going on after epoch \d+", text)]
    assert not list(tmp_path.glob("checkpoints/*/*"))
