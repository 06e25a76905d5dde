"""What every step does around its work: measure, report, and fail with one clear message."""

import atexit
import contextlib
import fcntl
import functools
import gc
import inspect
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from slmrec.artifacts import Artifact, canonical_json, digest_file, digest_text, open_artifact
from slmrec.errors import ArtifactError, ConfigError, SlmrecError, disk_trouble
from slmrec.processes import deadline
from slmrec.progress import EventFile, LogLines, Progress, Silent
from slmrec.registry.store import Registry
from slmrec.registry.versions import MODEL
from slmrec.signing import PrivateKey, read_private_key, read_public_key
from slmrec.training.launch import rank_among_others, train_together
from slmrec.visible import visible

P = ParamSpec("P")
Metadata = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
"""The repository, or `/app` in an image: where `validation/` lies."""
EVENTS_VARIABLE = "SLMREC_EVENTS"
"""Set by the local run: the file to which steps append events for the progress display."""
TEACHER_CACHE_VARIABLE = "SLMREC_TEACHER_CACHE"
"""Set by the local run: the folder where `cache_teacher` keeps finished shards for later runs."""
CHECKPOINTS_VARIABLE = "SLMREC_CHECKPOINTS"
"""Set by the local run: the folder in which a training that is stopped finds itself again."""
DOWNLOADS_VARIABLE = "SLMREC_DOWNLOADS"
"""Set by the local run: the folder where a download that was stopped goes on."""
EVIDENTLY_VARIABLE = "SLMREC_EVIDENTLY"
"""Set by the local run: the folder that keeps Evidently's reports, for `evidently ui`."""
TIMEOUT_VARIABLE = "SLMREC_TIMEOUT_MINUTES"
"""Set by the compiled pipeline: how long the step may take; a week when it is not set."""
MOST_MINUTES = 527040.0
"""A year, which no timer refuses."""
PROCESSES_VARIABLE = "SLMREC_PROCESSES"
"""How many processes a training step trains with, one a GPU; one when it is not set."""
PUBLIC_KEY_VARIABLE = "SLMREC_PUBLIC_KEY"
"""Path or PEM of the key that models which serve have to be signed with; unset: nobody looks."""
SIGNING_KEY_VARIABLE = "SLMREC_SIGNING_KEY"
"""Path or PEM of the key that `promote_model` signs with; unset: a person signs."""
if TIMEOUT_VARIABLE in os.environ:
    # A process that is a step. It imports half a million objects, none of them garbage: nobody looks
    # for any among them before its work begins, while it goes on, or at the end of the process.
    gc.disable()
    atexit.register(gc.freeze)


def open_registry(place: str) -> Registry:
    """The registry at a place; where a public key is set, models in it have to be signed."""
    key = os.environ.get(PUBLIC_KEY_VARIABLE)
    return Registry(place, read_public_key(key) if key else None)


def named_model(store: Registry, number: int, digest: str, progress: Progress) -> Artifact:
    """A version's model, which has to be the one that `snapshot_source` named by its digest.

    Raises `ArtifactError` when it is not, or is not whole, or not signed by whom one trusts.
    """
    artifact = store.artifact(number, MODEL, progress)
    if artifact.digest != digest:
        raise ArtifactError(f"{artifact.path}: another model than when this run began")
    return artifact


def signing_key() -> PrivateKey | None:
    """The key that this step signs models with; None where nobody set one."""
    key = os.environ.get(SIGNING_KEY_VARIABLE)
    return read_private_key(key) if key else None


def step(
    name: str, *, outputs: tuple[str, ...] = (), label: str = "", trains: bool = False
) -> Callable[[Callable[Concatenate[Progress, P], Metadata]], Callable[P, Metadata]]:
    """Turn a function of (progress, paths and texts) → metadata into a step.

    `outputs` names the arguments that are paths to write to, as the component's ports are called;
    `label` the argument that tells parallel instances apart; a step that `trains` runs in as many
    processes as `SLMREC_PROCESSES` says, or takes its part among those that `torchrun` has started:
    the first one writes and reports, the others return nothing. The step's metadata gains its name,
    `seconds`, `peak_rss_mb` and the digest of every output, and loses what is None. An error that
    slmrec raises on purpose is reported as one line and ends the process with its exit code; any other
    keeps its traceback.
    """

    def decorate(
        function: Callable[Concatenate[Progress, P], Metadata],
    ) -> Callable[P, Metadata]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def work(progress: Progress, *args: P.args, **kwargs: P.kwargs) -> Metadata:
            if not gc.isenabled():
                gc.freeze()
                gc.enable()
            return function(progress, *args, **kwargs)

        @functools.wraps(work)
        def run(*args: P.args, **kwargs: P.kwargs) -> Metadata:
            bound = signature.bind(None, *args, **kwargs)
            arguments = {key: value for key, value in bound.arguments.items() if value is not None}
            instance = f"{name}[{_short(arguments[label])}]" if label else name
            rank = rank_among_others() if trains else None
            progress = Silent() if rank else _progress(instance)
            who = f"{instance}, process {rank}" if rank else instance
            _event(progress, "started", {})
            started = time.monotonic()

            def failed(message: str, code: int = SlmrecError.exit_code) -> None:
                _event(progress, "failed", {"message": message, "exit_code": code})

            def ended(message: str) -> None:
                failed(message)
                print(f"{who}: {message}", file=sys.stderr, flush=True)

            held = hold(Path(events)) if (events := os.environ.get(EVENTS_VARIABLE)) else None
            try:
                with held or contextlib.nullcontext(), deadline(60 * _timeout_minutes(), ended):
                    processes = _processes() if trains and rank is None else 1
                    if rank is not None:
                        metadata = _part_of_step(work, progress, arguments, outputs)
                    elif processes == 1:
                        metadata = work(progress, *args, **kwargs)
                    else:
                        metadata = train_together(
                            processes,
                            f"{function.__module__}:{function.__name__}",
                            arguments,
                            outputs,
                            instance=instance,
                            events=os.environ.get(EVENTS_VARIABLE),
                            import_from=ROOT,
                        )
            except Exception as error:
                told = str(error) if isinstance(error, SlmrecError) else disk_trouble(error)
                if told is None and not isinstance(error, OSError):
                    failed(f"{type(error).__name__}: {error}")
                    raise
                told = told or str(error)
                code = getattr(error, "exit_code", SlmrecError.exit_code)
                failed(told, code)
                print(f"{who}: {visible(told)}", file=sys.stderr)
                raise SystemExit(code) from error
            if rank:
                return {}
            paths = {port: arguments[port] for port in outputs}
            metadata = {
                # A task fails on Kubeflow when it says of its outputs that something is null.
                **{name: value for name, value in metadata.items() if value is not None},
                "step": instance,
                "digests": {port: output_digest(Path(path)) for port, path in paths.items()},
                "seconds": round(time.monotonic() - started, 3),
                "peak_rss_mb": round(_peak_kib() / 1024, 1),
            }
            _event(progress, "finished", {"metadata": metadata, "outputs": paths})
            return metadata

        return run

    return decorate


def _part_of_step(
    function: Callable[..., Metadata],
    progress: Progress,
    arguments: Metadata,
    outputs: tuple[str, ...],
) -> Metadata:
    from slmrec.training.worker import take_part

    with tempfile.TemporaryDirectory() as temporary:
        return take_part(function, progress, arguments, outputs, Path(temporary))


@contextlib.contextmanager
def hold(events: Path) -> Iterator[None]:
    """Show, while the block runs, that a process of the run with these events lives.

    The system lets go for a process that is killed; a disk that knows no locks is told nothing.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            fcntl.flock(stack.enter_context(events.open("ab")), fcntl.LOCK_SH)
        yield


def output_digest(path: Path) -> str:
    """Digest of an output: of a whole artifact through its checked manifest, or of a plain file.

    Raises `ArtifactError` when it is neither.
    """
    return digest_file(path) if path.is_file() else open_artifact(path).digest


def checkpoint_directory(
    step_name: str, config: str, inputs: Mapping[str, Artifact]
) -> Path | None:
    """Where a training step keeps its checkpoints: its own for each step, settings and inputs.

    None when nobody set a folder for them.
    """
    folder = os.environ.get(CHECKPOINTS_VARIABLE)
    if not folder:
        return None
    digests = {name: artifact.digest for name, artifact in inputs.items()}
    key = digest_text(canonical_json({"config": config, "inputs": digests}))
    return Path(folder) / f"{step_name}-{key[:16]}"


def _timeout_minutes() -> float:
    value = os.environ.get(TIMEOUT_VARIABLE, "10080")
    minutes = float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) else 0.0
    if not 0 < minutes <= MOST_MINUTES:
        raise ConfigError(
            f"{TIMEOUT_VARIABLE} is '{value}', expected how many minutes a step may take, above 0 and "
            f"at most {MOST_MINUTES:.0f}, like 90 or 0.5"
        )
    return minutes


def _processes() -> int:
    value = os.environ.get(PROCESSES_VARIABLE, "1")
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(
            f"{PROCESSES_VARIABLE} is '{value}', expected how many processes train together, 1 or more"
        )
    return int(value)


def _peak_kib() -> int:
    """Peak memory of this process or of the largest that it started, KiB."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in whose)


def _short(value: str) -> str:
    """How an instance is called: a shard is its own name, a variant's settings hold one."""
    return str(json.loads(value)["name"]) if value.startswith("{") else value


def _progress(instance: str) -> Progress:
    events = os.environ.get(EVENTS_VARIABLE)
    return EventFile(Path(events), instance) if events else LogLines(instance)


def _event(progress: Progress, kind: str, content: Metadata) -> None:
    if isinstance(progress, EventFile):
        progress.event(kind, content)
