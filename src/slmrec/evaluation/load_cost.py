"""How long a model takes until it can answer, and how much memory a process needs for it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

import numpy as np

from slmrec.artifacts import Artifact, write_json
from slmrec.config import EvaluateModels
from slmrec.errors import SlmrecError
from slmrec.evaluation.speed import Timings, rotated
from slmrec.models.scorer import History
from slmrec.models.servable import KIND as SERVABLE
from slmrec.progress import Progress, Silent

REQUESTS = 20
"""Single users that a process answers before its batch."""
LIMIT_SECONDS = 600.0
"""For one process, imports included."""
_SIDE_BY_SIDE = 2  # processes that import at the same time; they load one by one


def measure_loads(
    models: Mapping[str, Artifact],
    histories: Sequence[History],
    config: EvaluateModels,
    threads: int,
    progress: Progress | None = None,
    *,
    own_histories: Mapping[str, Sequence[History]] | None = None,
    limit_seconds: float = LIMIT_SECONDS,
) -> Timings:
    """Open each servable in `load_processes` fresh processes, in turns, and every other model in one.

    A process imports what the model needs (a servable needs no torch), opens the artifact as a service
    does, every byte checked, and answers: one user, `REQUESTS` single ones, then `batch_users` at once.
    Processes have `threads` threads and inherit where the caller is pinned to. `own_histories` is as
    `measure_speed` takes it.

    Returns model → medians of `load_ms`, from opening the files, which the system still holds in its
    cache, to the first answer; `peak_mb`, the largest resident memory of the process, in 10^6 bytes,
    imports included; and `model_mb`, that less what it was after the imports.

    Raises `SlmrecError`, naming the model, when a process fails or takes longer than `limit_seconds`.
    """
    progress = progress or Silent()
    names = list(models)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        jobs = {}
        for number, (name, model) in enumerate(models.items()):
            asked = (own_histories or {}).get(name, histories)
            jobs[name] = Path(folder) / f"{number}.json"
            write_json(jobs[name], _job(model, asked, config, threads))
        for turn in range(config.load_processes):
            order = [
                name for name in rotated(names, turn) if turn == 0 or models[name].kind == SERVABLE
            ]
            for start in range(0, len(order), _SIDE_BY_SIDE):
                group = order[start : start + _SIDE_BY_SIDE]
                with ExitStack() as stack:
                    processes = [
                        stack.enter_context(_Process(name, jobs[name], limit_seconds))
                        for name in group
                    ]
                    for process in processes:
                        process.wait_until_ready()
                    for name, process in zip(group, processes, strict=True):
                        found[name].append(process.load())
            progress.update(turn + 1, config.load_processes, "load time and memory")
    return {name: _medians(answers) for name, answers in found.items()}


def _job(
    model: Artifact, histories: Sequence[History], config: EvaluateModels, threads: int
) -> dict[str, Any]:
    return {
        "model": str(model.path.resolve()),
        "servable": model.kind == SERVABLE,
        "threads": threads,
        "requests": [history.tolist() for history in islice(cycle(histories), REQUESTS)],
        "batch": [history.tolist() for history in islice(cycle(histories), config.batch_users)],
        "exclude_seen": config.filter_seen,
    }


def _medians(answers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    def median(values: Sequence[float]) -> float:
        return float(np.median(values))

    return {
        "load_ms": median([1e3 * one["seconds"] for one in answers]),
        "peak_mb": median([one["peak_bytes"] / 1e6 for one in answers]),
        "model_mb": median([(one["peak_bytes"] - one["imported_bytes"]) / 1e6 for one in answers]),
    }


class _Process:
    """One run of `slmrec.evaluation.load_once`; it does not outlive the `with` block."""

    def __init__(self, name: str, job: Path, limit_seconds: float) -> None:
        self._name, self._limit, self._late = name, limit_seconds, False
        self._child = subprocess.Popen(  # noqa: S603 a command of ours
            [sys.executable, "-m", "slmrec.evaluation.load_once", str(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._timer = Timer(limit_seconds, self._end_late)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._child.kill()
        self._child.communicate()

    def wait_until_ready(self) -> None:
        """Wait until it has imported everything."""
        assert self._child.stdout is not None
        if not self._child.stdout.readline():
            self._fail(self._child.communicate()[1])

    def load(self) -> dict[str, float]:
        """Give the word and wait for what it found."""
        said, errors = self._child.communicate("go\n")
        if self._child.returncode:
            self._fail(errors)
        found: dict[str, float] = json.loads(said.splitlines()[-1])
        return found

    def _end_late(self) -> None:
        self._late = True
        self._child.kill()

    def _fail(self, errors: str) -> None:
        what = f"model '{self._name}': a process that does nothing but open it and answer"
        if self._late:
            raise SlmrecError(
                f"{what} was not done within {self._limit:g} s and was ended; expected seconds. Does "
                "the machine swap, or something else take its processors?"
            )
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        raise SlmrecError(
            f"{what} ended with code {self._child.returncode}: {last}; expected figures of load time "
            "and memory. A negative code is the signal that ended it, -9 often for want of memory"
        )
