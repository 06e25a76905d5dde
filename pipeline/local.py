"""Run the compiled file on this machine, with KFP's own local engine and cache.

What this adds to `kfp.local`: the image tag carries a digest of the code, so a changed line is a
cache miss; a cached result is used only when its bytes still have the digests they were made with;
and the steps' events reach whoever shows progress.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from components import images
from components.runtime import (
    CHECKPOINTS_VARIABLE,
    DOWNLOADS_VARIABLE,
    EVENTS_VARIABLE,
    EVIDENTLY_VARIABLE,
    TEACHER_CACHE_VARIABLE,
    hold,
    output_digest,
)
from pipeline.events import EventReader
from pipeline.home import Home
from pipeline.leftovers import TEMPORARY, sweep, tidy
from pipeline.paths import PIPELINE_FILE, ROOT
from pipeline.record import RunRecord, StepRecord
from pipeline.runners import StepRunner, Subprocesses, steps_end_with_us
from pipeline.task_cache import seal_entries
from pipeline.terminal import PlainLog, plain
from slmrec.errors import ArtifactError, SlmrecError
from slmrec.yaml_text import parse_yaml

LITTLE_ROOM = 64 * 1024
"""Bytes; with less on its disk a step may not be able to tell what happened to it."""


class StepFailedError(SlmrecError):
    """A step ended with an error; `exit_code` is the one that the step asked for."""

    def __init__(self, step: str, message: str, exit_code: int, log: Path) -> None:
        super().__init__(f"{step}: {message}\n(log: {log})")
        self.step = step
        self.exit_code = exit_code  # type: ignore[misc]


def run_pipeline(
    home: Home,
    parameters: dict[str, Any],
    on_event: Callable[[dict[str, Any]], None],
    pipeline_file: Path = PIPELINE_FILE,
    runner: StepRunner | None = None,
) -> RunRecord:
    """Run the compiled file to its end, each step in what `runner` starts: a process, if not said.

    `on_event` is called from another thread for everything that steps report, and with
    `{"event": "cached", …}` for each step whose result was taken from the cache.
    Raises `StepFailedError`, and `KeyboardInterrupt` after the running steps were ended.
    """
    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%d-%H%M%S-%f}"
    sweep(home)
    folder = home.run(run_id)
    folder.mkdir(parents=True)
    runner = runner or Subprocesses()
    digest = runner.code_digest
    parameters = parameters | {
        "registry": home.registry,
        "code_digest": digest,
        "started": started.isoformat(timespec="seconds"),
    }
    record = RunRecord(run_id, started, folder, digest, parameters)
    executed = folder / "pipeline.yaml"
    compiled = pipeline_file.read_text(encoding="utf-8")
    compiled = images.with_image(compiled, runner.image)
    executed.write_text(for_this_machine(compiled), encoding="utf-8")
    unfinished: dict[str, None] = {}  # in the order in which they started

    def keep(event: dict[str, Any]) -> None:
        if event["event"] == "started":
            unfinished[event["step"]] = None
        if event["event"] == "finished":
            unfinished.pop(event["step"], None)
        if event["event"] in ("finished", "cached"):
            outputs = {port: Path(path) for port, path in event["outputs"].items()}
            cached = event["event"] == "cached"
            record.steps.append(StepRecord(event["step"], cached, event["metadata"], outputs))
        on_event(event)

    reader = EventReader(folder / "events.jsonl", keep)
    checkpoints = home.checkpoints / digest[:16]
    for outdated in set(home.checkpoints.glob("*")) - {checkpoints}:
        shutil.rmtree(outdated, ignore_errors=True)  # other code trains otherwise
    kept = {
        CHECKPOINTS_VARIABLE: str(checkpoints.resolve()),
        TEACHER_CACHE_VARIABLE: str(home.teacher_cache.resolve()),
        DOWNLOADS_VARIABLE: str(home.downloads.resolve()),
        EVIDENTLY_VARIABLE: str(home.evidently.resolve()),
    }
    log = folder / "kfp.log"
    with (
        contextlib.ExitStack() as last,
        hold(reader.path),
        _environment(folder, reader.path, kept) as environment,
        steps_end_with_us(runner.end),
        reader,
    ):
        last.callback(tidy, home, run_id)
        session = {
            "runner": runner.start(home, run_id, parameters, environment),
            "pipeline_root": str(home.artifacts / run_id),
            "enable_caching": True,
            "cache_root": str(runner.task_cache(home)),
        }
        try:
            _execute(executed, parameters, session, keep, log)
        except RuntimeError as error:
            said = _ended_unseen(folder) if unfinished else str(error)
            raise _failure(reader, [*unfinished], said, log) from error
        except runner.errors as error:
            raise _failure(reader, [*unfinished], str(error), log) from error
        except ValueError as error:  # the next step misses what the one below has not written
            reader.drain()
            if not unfinished:
                raise
            raise _failure(reader, [*unfinished], _ended_unseen(folder), log) from error
        # KFP takes a container that is gone before it is asked for its exit code for one that did well.
        reader.drain()
        if unfinished:
            raise _failure(reader, [*unfinished], _ended_unseen(folder), log)
    record.seconds = (datetime.now(UTC) - started).total_seconds()
    return record


def for_this_machine(compiled: str) -> str:
    """The pipeline without what is for clusters.

    A machine that is here does not go away, so a step that failed is not begun again; and KFP cannot
    limit cores and memory here, of which it would warn for every step.
    """
    pipeline = parse_yaml(compiled, PIPELINE_FILE.name)
    for component in (pipeline["root"], *pipeline["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task.pop("retryPolicy", None)
    for executor in pipeline["deploymentSpec"]["executors"].values():
        executor["container"].pop("resources", None)
    return yaml.dump(pipeline, Dumper=yaml.CSafeDumper, sort_keys=True)


def _full(folder: Path) -> str:
    """What to say where a disk has next to no room; else empty."""
    free = shutil.disk_usage(folder).free
    if free >= LITTLE_ROOM:
        return ""
    return (
        f"{folder}: No space left on device, {free:,} bytes are free; make room there and run the same "
        "command again, what was finished stays"
    )


def _ended_unseen(folder: Path) -> str:
    """What to say of a step that could not say why it ended."""
    if full := _full(folder):
        return f"ended without a word: {full}"
    return (
        "ended without a word, as a process does that the system kills for its memory; the log holds "
        "what it printed, the same command goes on after the last finished step"
    )


def _failure(
    reader: EventReader, unfinished: list[str], message: str, log: Path
) -> StepFailedError:
    """What to say of a run that failed: the first thing that a step said, else what is known."""
    reader.drain()
    if (failed := reader.failure) is not None:
        return StepFailedError(failed["step"], failed["message"], int(failed["exit_code"]), log)
    if unfinished:
        return StepFailedError(unfinished[0], message, SlmrecError.exit_code, log)
    # Not even begun: its imports failed, and only the engine knows which step it was.
    known = _full(log.parent) or f"the log holds what it printed. {plain(message)}"
    said = f"a step ended before its work began; {known}"
    return StepFailedError("pipeline", said, SlmrecError.exit_code, log)


def _execute(
    executed: Path,
    parameters: dict[str, Any],
    session: dict[str, Any],
    keep: Callable[[dict[str, Any]], None],
    log: Path,
) -> None:
    from kfp import components, local
    from kfp.local import cache as kfp_cache

    with (
        # Nothing waits in a buffer: closing would fail once more on a full disk, and hide why.
        io.TextIOWrapper(
            log.open("wb", buffering=0), encoding="utf-8", write_through=True
        ) as stream,
        contextlib.redirect_stdout(PlainLog(stream)),
    ):
        local.init(**session)
        task_cache = kfp_cache.get_local_cache()
        assert task_cache is not None
        seal_entries(task_cache)
        task_cache.get = verified(task_cache.get, keep)
        components.load_component_from_file(str(executed))(**parameters)


def verified(
    get: Callable[[str], dict[str, Any] | None], keep: Callable[[dict[str, Any]], None]
) -> Callable[[str], dict[str, Any] | None]:
    """A cache look-up that gives a result only while its bytes are the ones that were stored.

    KFP's own look-up checks that the files exist, nothing more: it would serve an artifact that was
    overwritten, with status success.
    """

    def look_up(key: str) -> dict[str, Any] | None:
        outputs = get(key)
        if outputs is None:
            return None
        artifacts = {name: value for name, value in outputs.items() if hasattr(value, "metadata")}
        if not artifacts:  # of a step that was ended while KFP took it for one that did well
            return None
        for name, artifact in artifacts.items():
            recorded = artifact.metadata.get("digests", {}).get(name)
            try:
                found = output_digest(Path(artifact.path))
            except (ArtifactError, OSError) as error:
                print(f"cache: {artifact.path} is not used: {error}")
                return None
            if found != recorded:
                print(f"cache: {artifact.path} is not used: it has changed since it was made")
                return None
        metadata = next((artifact.metadata for artifact in artifacts.values()), {})
        if metadata.get("reusable") is False:
            print(
                f"cache: {metadata.get('step', '?')} looks again, since something could not be read"
            )
            return None
        keep(
            {
                "event": "cached",
                "step": metadata.get("step", "?"),
                "metadata": metadata,
                "outputs": {name: artifact.path for name, artifact in artifacts.items()},
            }
        )
        return outputs

    return look_up


@contextlib.contextmanager
def _environment(
    folder: Path, events: Path, kept: Mapping[str, str]
) -> Iterator[Mapping[str, str]]:
    """Set what steps are told by variables; gives those that mean the same in a container."""
    temporary = folder / TEMPORARY  # each KFP task leaves a folder behind
    temporary.mkdir()
    changes = {
        EVENTS_VARIABLE: str(events.resolve()),
        **kept,
        "TMPDIR": str(temporary.resolve()),
        "PYTHONUNBUFFERED": "1",
        # OpenMP's threads spin while they wait, which is right when they have the machine alone.
        # Two steps at once on two cores were 5 to 50 times slower for it; with short spinning twice,
        # which is their fair share, and a step alone loses little (benchmarks/training_step.py).
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
    }
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    here = changes | {"PYTHONPATH": os.pathsep.join(paths)}
    before = {name: os.environ.get(name) for name in here}
    os.environ.update(here)
    try:
        yield changes
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
