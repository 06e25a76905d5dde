"""Killing the runs of a home one after another, each at a planned moment."""

import contextlib
import os
import random
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from slmrec.registry.store import Registry
from tests.faults.remains import check_registry
from tests.faults.tiny import (
    UNCACHED,
    forget,
    kill_group,
    logs,
    start,
    started,
    tasks,
    wait_for,
)

GROUP, STEP, ENGINE = "the run with its steps", "a step alone", "the run without its steps"
"""Whom the signal reaches: as when a machine goes down, when memory runs out, when somebody kills the
process that he started."""
_STAMP = re.compile(r"^(\d\d:\d\d:\d\d\.\d{3}) - INFO - (Executing task|Task) .*?'([a-z-]+)'")


@dataclass(frozen=True)
class Kill:
    """One planned kill."""

    step: str
    """While it runs; empty: before the first."""
    share: float
    """When, as a share of the time that the step usually takes, imports included."""
    victim: str


def plan(count: int, steps: tuple[str, ...], seed: int) -> list[Kill]:
    """Kills in the order of the steps, as many in each and before the first; one in twelve of them
    of the run without its steps, three of a step alone."""
    rng = random.Random(seed)
    places = ["", *steps]
    chosen = sorted(index % len(places) for index in range(count))
    victims = [GROUP] * 8 + [STEP] * 3 + [ENGINE]
    return [Kill(places[place], rng.uniform(0, 1.1), rng.choice(victims)) for place in chosen]


def usual_seconds(log: Path) -> dict[str, float]:
    """How long each step took by a log of KFP, imports included; of several, until the last ended."""
    begun: dict[str, float] = {}
    found: dict[str, float] = {}
    for line in re.sub(r"\x1b\[\d+m", "", log.read_text(encoding="utf-8")).splitlines():
        if match := _STAMP.match(line):
            moment = datetime.strptime(match[1], "%H:%M:%S.%f").timestamp()
            step = match[3].replace("-", "_")
            if match[2] == "Executing task":
                begun.setdefault(step, moment)
            else:
                found[step] = max((moment - begun[step]) % 86400, 0.1)
    return found


class Harness:
    """A home, and what was hit in it."""

    def __init__(self, code: Path, home: Path, usual: dict[str, float]) -> None:
        self.code, self.home, self.usual = code, home, usual
        self.hit: Counter[str] = Counter()
        """Kills by what was running."""
        self.victims: Counter[str] = Counter()
        self._orphans: list[int] = []

    def strike(self, kill: Kill) -> None:
        """Begin a run, and kill it at the planned moment."""
        self.arrange(kill)
        before = logs(self.home)
        process = start(self.code, self.home)
        reached = wait_for(
            lambda: not kill.step or kill.step in started(self.home, before), process, 900
        )
        assert reached, f"{kill}: {process.communicate()[1][-2000:]}"
        usual = self.usual.get(kill.step, 4.0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(kill.share * usual)
        self.hit.update(self._running(before) or ["between steps"])
        self.victims[kill.victim] += 1
        {GROUP: kill_group, STEP: self._kill_step, ENGINE: self._kill_engine}[kill.victim](process)

    def end(self) -> None:
        """End what steps of killed runs are still doing."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) in self._orphans:
                    process.kill()

    def _running(self, before: set[Path]) -> list[str]:
        found: Counter[str] = Counter()
        for log in logs(self.home) - before:
            begun, ended = tasks(log)
            found += Counter(begun) - Counter(ended)
        return list(found)

    def arrange(self, kill: Kill) -> None:
        """See to it that the step will be executed."""
        if kill.step and kill.step not in UNCACHED:
            forget(self.home, kill.step)
        place = self.home / "registry"
        if place.exists() and Registry(place).production() is not None:
            check_registry(place)
            shutil.rmtree(place)  # there has to be a reason to train

    def _kill_engine(self, process: subprocess.Popen[str]) -> None:
        self._orphans.append(process.pid)
        process.kill()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        process.wait()

    def _kill_step(self, process: subprocess.Popen[str]) -> None:
        """The run has to end by itself, with one message."""
        steps = []
        with contextlib.suppress(psutil.NoSuchProcess):
            steps = [
                child
                for child in psutil.Process(process.pid).children(recursive=True)
                if "kfp.dsl.executor_main" in child.cmdline()
            ]
        if not steps:
            kill_group(process)
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            steps[-1].kill()
        _, err = process.communicate(timeout=900)
        if process.returncode:
            assert process.returncode == 4, err[-2000:]
            assert len(re.findall(r"^error: ", err, re.MULTILINE)) == 1, err[-2000:]
            assert "Traceback" not in err, err[-2000:]
