"""A function in a process of its own, where what it takes of time and memory can be measured."""

import contextlib
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from slmrec.artifacts import publish
from slmrec.config import IngestInteractions
from slmrec.data.ingest import ingest
from slmrec.data.sequences import load_sequences
from slmrec.errors import DataError
from slmrec.progress import Silent

LIMIT_BYTES = 12 * 1024**3
"""Of address space, which protects the machine if a bomb does go off."""


@dataclass(frozen=True)
class Outcome:
    """What became of a call."""

    seconds: float
    """Of processor time, all threads together."""
    peak_mb: float
    """Of the whole process, its imports included."""
    error: str
    """Type and message of what it raised; empty where it returned."""


def call(function: Callable[..., object], *arguments: Any, timeout: float = 300) -> Outcome:
    """Call a function of this module in a fresh process and measure it."""
    context = multiprocessing.get_context("spawn")
    answers: Queue[Outcome] = context.Queue()
    process = context.Process(target=_measured, args=(answers, function, arguments))
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
        return Outcome(timeout, float("inf"), "still running")
    if process.exitcode:
        return Outcome(0.0, float("inf"), f"ended with {process.exitcode}")
    return answers.get(timeout=5)


def ingested(log: Path, items: str, out: Path) -> None:
    """Ingest a log and an item file, `items` empty for none."""
    out.mkdir()
    ingest(str(log), items, IngestInteractions(), out, Silent())


def all_ingested(logs: list[Path], out: Path) -> None:
    """Ingest logs one after another, also after one was refused."""
    for number, log in enumerate(logs):
        with contextlib.suppress(DataError):
            ingested(log, "", out / f"{number}")


def sequences(folder: Path) -> None:
    """Open sequences."""
    load_sequences(folder)


def made(folder: Path, kind: str, files: dict[str, bytes], **properties: Any) -> Path:
    """An artifact of such files, whose manifest agrees with them."""
    with publish(folder, kind, properties=properties) as staging:
        for name, content in files.items():
            (staging / name).write_bytes(content)
    return folder


def _measured(
    answers: "Queue[Outcome]", function: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    started = time.process_time()  # other processes on this machine are none of the bomb's doing
    error = ""
    try:
        function(*arguments)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    seconds = time.process_time() - started
    answers.put(Outcome(seconds, _peak_mb(), error))


def _peak_mb() -> float:
    # Not `ru_maxrss`, which a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) / 1024
