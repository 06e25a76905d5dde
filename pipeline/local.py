"""Run the compiled file on this machine, with KFP's own local engine and cache.

What this adds to `kfp.local`: the image tag carries a digest of the code, so a changed line is a
cache miss; a cached result is used only when its bytes still have the digests they were made with;
and the steps' events reach whoever shows progress.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from components import images
from components.runtime import (
    CHECKPOINTS_VARIABLE,
    EVENTS_VARIABLE,
    EVIDENTLY_VARIABLE,
    TEACHER_CACHE_VARIABLE,
    output_digest,
)
from pipeline.events import EventReader
from pipeline.paths import CODE, PIPELINE_FILE, ROOT
from slmrec.errors import ArtifactError, SlmrecError
from slmrec.processes import end_children
from slmrec.storage.client import is_remote


@dataclass(frozen=True)
class Home:
    """Where a local installation keeps its state."""

    path: Path
    elsewhere: str = ""
    """The registry's place, a path or `gs://BUCKET/PREFIX`, where it is not kept here."""

    @property
    def registry(self) -> str:
        """Where model versions and channels are: an absolute path or a `gs://` URI."""
        if is_remote(self.elsewhere):
            return self.elsewhere
        return str(Path(self.elsewhere or self.path / "registry").resolve())

    @property
    def artifacts(self) -> Path:
        """What steps wrote, a folder a run."""
        return self.path / "cache" / "artifacts"

    @property
    def task_cache(self) -> Path:
        """KFP's record of which task gave which artifacts."""
        return self.path / "cache" / "tasks"

    @property
    def evidently(self) -> Path:
        """A workspace of Evidently with the reports of all runs."""
        return self.path / "evidently"

    @property
    def teacher_cache(self) -> Path:
        """Finished shards of the teacher cache, by what decides their content."""
        return self.path / "teacher-cache"

    @property
    def checkpoints(self) -> Path:
        """Where trainings that were stopped go on from, a folder a code digest."""
        return self.path / "checkpoints"

    def run(self, run_id: str) -> Path:
        """What belongs to one run: log, events, the file as executed, the summary."""
        return self.path / "runs" / run_id


@dataclass
class StepRecord:
    """One step of a run."""

    name: str
    cached: bool
    metadata: dict[str, Any]
    outputs: dict[str, Path]


@dataclass
class RunRecord:
    """What a run did."""

    run_id: str
    started: datetime
    folder: Path
    code_digest: str
    parameters: dict[str, Any]
    steps: list[StepRecord] = field(default_factory=list)
    seconds: float = 0.0

    def output(self, step: str, port: str) -> Path | None:
        """Where a step of this run, executed or cached, left an output."""
        for record in self.steps:
            if record.name == step and port in record.outputs:
                return record.outputs[port]
        return None


class StepFailedError(SlmrecError):
    """A step ended with an error; `exit_code` is the one that the step asked for."""

    def __init__(self, step: str, message: str, exit_code: int, log: Path) -> None:
        super().__init__(f"{step}: {message}\n(log: {log})")
        self.step = step
        self.exit_code = exit_code  # type: ignore[misc]


def code_digest(root: Path = ROOT) -> str:
    """SHA-256 over everything that decides what a step does, in hexadecimal."""
    digest = hashlib.sha256()
    for name in CODE:
        path = root / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            relative = file.relative_to(root).as_posix()
            if "__pycache__" in relative or ".egg-info" in relative or file.suffix == ".md":
                continue
            digest.update(relative.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def run_pipeline(
    home: Home,
    parameters: dict[str, Any],
    on_event: Callable[[dict[str, Any]], None],
    pipeline_file: Path = PIPELINE_FILE,
) -> RunRecord:
    """Run the compiled file to its end.

    `on_event` is called from another thread for everything that steps report, and with
    `{"event": "cached", …}` for each step whose result was taken from the cache.
    Raises `StepFailedError`, and `KeyboardInterrupt` after the running steps were ended.
    """
    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%d-%H%M%S-%f}"
    folder = home.run(run_id)
    folder.mkdir(parents=True)
    digest = code_digest()
    parameters = parameters | {
        "registry": home.registry,
        "code_digest": digest,
        "started": started.isoformat(timespec="seconds"),
    }
    record = RunRecord(run_id, started, folder, digest, parameters)
    executed = folder / "pipeline.yaml"
    tag = f"{images.PYTHON}-{digest[:12]}"
    text = pipeline_file.read_text(encoding="utf-8").replace(images.PYTHON, tag)
    executed.write_text(without_retries(text), encoding="utf-8")

    def keep(event: dict[str, Any]) -> None:
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
        EVIDENTLY_VARIABLE: str(home.evidently.resolve()),
    }
    with _environment(folder, reader.path, kept), children_end_with_us(), reader:
        try:
            _execute(executed, home, run_id, parameters, keep, folder / "kfp.log")
        except RuntimeError as error:
            reader.drain()
            failed = reader.failure
            message = failed["message"] if failed else str(error)
            code = int(failed["exit_code"]) if failed else SlmrecError.exit_code
            step = failed["step"] if failed else "pipeline"
            raise StepFailedError(step, message, code, folder / "kfp.log") from error
    record.seconds = (datetime.now(UTC) - started).total_seconds()
    return record


def without_retries(compiled: str) -> str:
    """The pipeline with every step begun once: a machine that is here does not go away."""
    pipeline = yaml.safe_load(compiled)
    for component in (pipeline["root"], *pipeline["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task.pop("retryPolicy", None)
    return yaml.safe_dump(pipeline, sort_keys=True)


def _execute(
    executed: Path,
    home: Home,
    run_id: str,
    parameters: dict[str, Any],
    keep: Callable[[dict[str, Any]], None],
    log: Path,
) -> None:
    from kfp import components, local
    from kfp.local import cache as kfp_cache

    with log.open("w", encoding="utf-8", buffering=1) as stream, contextlib.redirect_stdout(stream):
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(home.artifacts / run_id),
            enable_caching=True,
            cache_root=str(home.task_cache),
        )
        task_cache = kfp_cache.get_local_cache()
        assert task_cache is not None
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
def _environment(folder: Path, events: Path, kept: Mapping[str, str]) -> Iterator[None]:
    temporary = folder / "tmp"  # each KFP task leaves a folder behind
    temporary.mkdir()
    changes = {
        EVENTS_VARIABLE: str(events.resolve()),
        **kept,
        "TMPDIR": str(temporary.resolve()),
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
        ),
        "PYTHONUNBUFFERED": "1",
        # OpenMP's threads spin while they wait, which is right when they have the machine alone.
        # Two steps at once on two cores were 5 to 50 times slower for it; with short spinning twice,
        # which is their fair share, and a step alone loses little (benchmarks/training_step.py).
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def children_end_with_us() -> Iterator[None]:
    """On Ctrl-C or termination end the running steps first, so that none goes on unseen."""

    def interrupt(number: int, frame: object) -> None:
        end_children()
        sys.stdout.flush()
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
