"""Sides of a comparison, each a process of its own, one after the other, in alternating order."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from pipeline.paths import ROOT

Found = dict[str, Any]
"""What a process printed last, as JSON, with `wall_seconds` of the whole process."""


@dataclass(frozen=True)
class Side:
    """One side: what to run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def ours(name: str, module: str, *arguments: str) -> Side:
    """A side that is a module of `benchmarks.speed.sides`, in the project's environment."""
    command = (sys.executable, "-m", f"benchmarks.speed.sides.{module}", *arguments)
    return Side(name, command)


def pipeline(name: str, *arguments: str) -> Side:
    """A side that is a command of `python -m pipeline`, whose last line or whole output is JSON."""
    return Side(name, (sys.executable, "-m", "pipeline", *arguments))


def take_turns(sides: Sequence[Side], turns: int) -> dict[str, list[Found]]:
    """Run all sides so many times; every other turn goes from the last to the first.

    Raises `SystemExit` with what a process printed when it fails.
    """
    found: dict[str, list[Found]] = {side.name: [] for side in sides}
    for turn in range(turns):
        for side in sides[:: 1 if turn % 2 == 0 else -1]:
            found[side.name].append(run(side, f"turn {turn + 1} of {turns}: "))
    return found


def run(side: Side, before: str = "") -> Found:
    """Run a side once; on a terminal its newest line stands there until it ends."""
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    console = Console(stderr=True, highlight=False)
    console.print(f"{before}{side.name} …", markup=False, soft_wrap=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        said = []
        started = time.perf_counter()
        with (
            subprocess.Popen(
                side.command,
                cwd=ROOT,
                env={**os.environ, "DO_NOT_TRACK": "1", "PYTHONPATH": paths, **side.environment},
                stdout=output,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            ) as process,
            # Once a second: whoever is measured has the processor.
            console.status("", refresh_per_second=1) as newest,
        ):
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                newest.update(Text(line.strip(), overflow="ellipsis", no_wrap=True))
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read().strip()
    if process.returncode:
        told = "".join(said)
        sys.exit(f"{side.name} ended with {process.returncode}: {' '.join(side.command)}\n{told}")
    found: Found = json.loads(text if text.startswith("{") else text.splitlines()[-1])
    return {**found, "wall_seconds": seconds}


def peak_megabytes() -> float:
    """Memory that this process has held at most, as the peers' drivers tell theirs.

    What `getrusage` says begins with the size of whoever started the process.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
