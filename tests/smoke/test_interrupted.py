"""A run that a person ends, and the same command after it."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "sample:users=300,items=120,interactions=6000,seed=3"


def test_run_goes_on_where_it_was_interrupted(command, tiny: list[str], tmp_path: Path) -> None:
    long = ["--set", "train_teacher.training.epochs=40"]
    few = [
        "--set",
        "variants=[{name: float32, weights: float32}]",
        "--set",
        "cache_teacher.shards=1",
    ]
    arguments = ["run", "--interactions", SOURCE, "--home", str(tmp_path), *tiny, *long, *few]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if list(tmp_path.glob("checkpoints/*/train_teacher-*/epoch-*/manifest.json")):
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "goes on after the last finished step" in out
    left = subprocess.run(["ps", "-eo", "pgid,args"], capture_output=True, text=True).stdout
    assert not [line for line in left.splitlines() if line.split()[0] == str(process.pid)]
    assert not list(tmp_path.glob("cache/artifacts/*/*/train-teacher/teacher/manifest.json"))
    steps = command(*arguments, "--json").summary["steps"]
    executed = {step["name"] for step in steps if not step["cached"]}
    assert executed.isdisjoint(
        {"ingest_interactions", "validate_data", "build_sequences", "pretrain_items"}
    )
    assert "train_teacher" in executed
    told = [path.read_text() for path in sorted(tmp_path.glob("runs/*/events.jsonl"))]
    assert re.search(r'"step": "train_teacher", "text": "going on after epoch \d+', told[1])
    assert not list(tmp_path.glob("checkpoints/*/*"))
