"""Row 8: a step that hangs ends, with all that it has started, by 10 s after its deadline."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from components.runtime import TIMEOUT_VARIABLE
from pipeline.paths import ROOT
from tests.faults.conftest import Tell
from tests.faults.tiny import STEPS, start

MINUTES = 0.04
PATIENCE = (1, 5, 25)
"""A busy machine may not get a step as far as where it hangs before its deadline, so factors of it."""
LATEST = 10.0
"""Seconds after the deadline."""
HANG = """
import json, os, subprocess, tempfile, threading, time

def hang(*_, **__):
    '''Start what does not listen: a child, what that started, and what lost its parent. Then hang.'''
    child = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    )
    grandchild = int(child.stdout.readline())
    lost = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; setsid sleep 600 > /dev/null & echo $!"],
        stdout=subprocess.PIPE,
        text=True,
    )
    orphan = int(lost.stdout.readline())
    lost.wait()
    said = json.dumps([time.monotonic(), child.pid, grandchild, orphan])
    print("hangs:", said, flush=True)
    HOW
"""
WAYS = {
    "sleeps": "time.sleep(600)",
    "computes": "while True: pass",
    "waits for a child": "child.wait()",
    "reads a pipe that nobody writes": "p = tempfile.mktemp(); os.mkfifo(p); open(p).read()",
    "waits for a thread": "threading.Thread(target=time.sleep, args=(600,)).run()",
}
HOLDS_THE_INTERPRETER = "import ctypes; ctypes.PyDLL(None).sleep(600)"
"""No other thread of Python can run, so the process ends without ending what it has started."""
FIRST = {
    "snapshot_source": "snapshot",
    "ingest_interactions": "list_source",
    "validate_data": "open_artifact",
    "build_sequences": "open_artifact",
    "promote_model": "open_artifact",
}
"""What a step calls first; the others load their sequences."""
SETTINGS = '{"name": "int8"}'
"""Of a variant; other steps take none, which are the defaults."""


def hang_in(step: str, way: str) -> float:
    """Have a step hang in some way; seconds that it lived past its deadline, which it says."""
    module = import_module(f"components.{step}.step")
    parameters = list(inspect.signature(module.run).parameters)[1:]
    given = {
        name: SETTINGS if name == "variant" else "{}" if name == "config" else f"absent-{name}"
        for name in parameters
    }
    first = FIRST.get(step, "load_sequences")
    code = (
        HANG.replace("HOW", WAYS[way])
        + f"from components.{step} import step\n"
        + f"assert hasattr(step, {first!r})\n"
        + f"step.{first} = hang\n"
        + f"step.run(**{given!r})\n"
    )
    for minutes in (MINUTES * factor for factor in PATIENCE):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ
            | {
                TIMEOUT_VARIABLE: f"{minutes:g}",
                "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            },
            capture_output=True,
            text=True,
            timeout=180,
        )
        ended = time.monotonic()
        if "hangs: " in done.stdout:
            break
    else:
        pytest.fail(f"{step} did not get as far as where it hangs: {done.stderr[-2000:]}")
    began, *processes = json.loads(done.stdout.partition("hangs: ")[2].splitlines()[0])
    assert [pid for pid in processes if lives(pid)] == [], (step, way)
    assert done.returncode == 4, done.stderr[-2000:]
    assert f"{step}" in done.stderr
    assert f"took longer than {60 * minutes:g} seconds and was ended" in done.stderr
    late = ended - began - 60 * minutes
    assert late < LATEST, (step, way)
    return late


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def hang_in_each(steps: list[str]) -> float:
    """Every step, in ways that take turns; how late the last one ended."""
    ways = [list(WAYS)[number % len(WAYS)] for number in range(len(steps))]
    with ThreadPoolExecutor(min(len(steps), 3)) as pool:  # they wait, mostly
        return max(pool.map(hang_in, steps, ways))


def test_a_step_ends_with_all_that_it_started_when_it_hangs() -> None:
    hang_in_each(["snapshot_source", "decide_retraining", "ingest_interactions"])


def hang_in_a_run(code: Path, folder: Path, how: str) -> float:
    """Have `build_sequences` hang in a whole run; seconds that the run lived past the deadline."""
    copy = folder / "code"
    shutil.copytree(code, copy)
    module = copy / "components" / "build_sequences" / "step.py"
    hang = HANG.replace("HOW", how) + "open_artifact = hang\n"
    module.write_text(module.read_text(encoding="utf-8") + hang, encoding="utf-8")
    compiled = copy / "pipeline.yaml"
    text = compiled.read_text(encoding="utf-8")
    before, found, after = text.partition("exec-build-sequences:")
    after, changed = re.subn(
        r"(SLMREC_TIMEOUT_MINUTES\n\s+value: )'\d+'", rf"\g<1>'{MINUTES}'", after, count=1
    )
    assert found
    assert changed == 1
    compiled.write_text(before + found + after, encoding="utf-8")
    process = start(copy, folder / "home")
    _, err = process.communicate(timeout=600)
    ended = time.monotonic()
    log = next((folder / "home").glob("runs/*/kfp.log")).read_text(encoding="utf-8")
    began, *processes = json.loads(log.partition("hangs: ")[2].splitlines()[0])
    assert process.returncode == 4, err[-2000:]
    assert len(re.findall("^error: build_sequences: ", err, re.MULTILINE)) == 1, err[-2000:]
    assert [pid for pid in processes if lives(pid)] == []
    return ended - began - 60 * MINUTES


@pytest.mark.faults
def test_every_step_ends_with_all_that_it_started_when_it_hangs(
    code: Path, tmp_path: Path, tell: Tell
) -> None:
    latest = hang_in_each(list(STEPS))
    in_runs = [
        hang_in_a_run(code, tmp_path / f"{number}", how)
        for number, how in enumerate((WAYS["sleeps"], HOLDS_THE_INTERPRETER))
    ]
    assert max(in_runs) < LATEST + 2  # until the run has said so and has ended, too
    tell(
        8,
        "a hung step ends with its children by 10 s after its deadline",
        "every step",
        f"{len(STEPS)} steps that sleep, compute, wait for a child, a thread or a pipe, each with a "
        f"child, its child and an orphan that ignore SIGTERM: all gone at the latest {latest:.1f} s "
        f"after the deadline; a whole run of such a step {in_runs[0]:.1f} s after it, and "
        f"{in_runs[1]:.1f} s where the step lets no thread of Python run",
    )
