"""What every step does around its work: measure, report, and fail with one clear message."""

import functools
import inspect
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from slmrec.artifacts import digest_file, open_artifact
from slmrec.errors import SlmrecError
from slmrec.progress import EventFile, LogLines, Progress

P = ParamSpec("P")
Metadata = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
"""The repository, or `/app` in an image: where `validation/` lies."""
EVENTS_VARIABLE = "SLMREC_EVENTS"
"""Set by the local run: the file to which steps append events for the progress display."""
TEACHER_CACHE_VARIABLE = "SLMREC_TEACHER_CACHE"
"""Set by the local run: the folder where `cache_teacher` keeps finished shards for later runs."""


def step(
    name: str, *, outputs: tuple[str, ...] = (), label: str = ""
) -> Callable[[Callable[Concatenate[Progress, P], Metadata]], Callable[P, Metadata]]:
    """Turn a function of (progress, paths and texts) → metadata into a step.

    `outputs` names the arguments that are paths to write to, as the component's ports are called;
    `label` the argument that tells parallel instances apart. The step's metadata gains its name,
    `seconds`, `peak_rss_mb` and the digest of every output. An error that slmrec raises on purpose
    is reported as one line and ends the process with its exit code; any other keeps its traceback.
    """

    def decorate(
        function: Callable[Concatenate[Progress, P], Metadata],
    ) -> Callable[P, Metadata]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> Metadata:
            bound = signature.bind(None, *args, **kwargs)
            arguments = {key: value for key, value in bound.arguments.items() if value is not None}
            instance = f"{name}[{_short(arguments[label])}]" if label else name
            progress = _progress(instance)
            _event(progress, "started", {})
            started = time.monotonic()
            try:
                metadata = function(progress, *args, **kwargs)
            except (SlmrecError, OSError) as error:
                code = getattr(error, "exit_code", SlmrecError.exit_code)
                message = str(error)
                _event(progress, "failed", {"message": message, "exit_code": code})
                print(f"{instance}: {message}", file=sys.stderr)
                raise SystemExit(code) from error
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
                _event(progress, "failed", {"message": message, "exit_code": SlmrecError.exit_code})
                raise
            paths = {port: arguments[port] for port in outputs}
            metadata = {
                **metadata,
                "step": instance,
                "digests": {port: output_digest(Path(path)) for port, path in paths.items()},
                "seconds": round(time.monotonic() - started, 3),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
            _event(progress, "finished", {"metadata": metadata, "outputs": paths})
            return metadata

        return run

    return decorate


def output_digest(path: Path) -> str:
    """Digest of an output: of a whole artifact through its checked manifest, or of a plain file.

    Raises `ArtifactError` when it is neither.
    """
    return digest_file(path) if path.is_file() else open_artifact(path).digest


def _short(value: str) -> str:
    """How an instance is called: a shard is its own name, a variant's settings hold one."""
    return str(json.loads(value)["name"]) if value.startswith("{") else value


def _progress(instance: str) -> Progress:
    events = os.environ.get(EVENTS_VARIABLE)
    return EventFile(Path(events), instance) if events else LogLines(instance)


def _event(progress: Progress, kind: str, content: Metadata) -> None:
    if isinstance(progress, EventFile):
        progress.event(kind, content)
