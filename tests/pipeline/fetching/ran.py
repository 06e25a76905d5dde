"""A run on this machine as a service would tell it: its steps' events, and its outputs in a bucket."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from components.runtime import output_digest
from pipeline.paths import PIPELINE_FILE
from pipeline.record import RunRecord, StepRecord
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.yaml_text import read_yaml
from tests.storage.cloud import Bucket, Stored

CREATED = datetime(2026, 2, 28, 12, 0, 0, 250_000, tzinfo=UTC)
BUCKET = "shop"
PARAMETERS = {"code_digest": "c0de", "registry": "gs://shop/models", "force": False}


@dataclass(frozen=True)
class Task:
    """One step, as a service knows it."""

    step: str
    """The instance: `cache_teacher[0/2]`."""
    cached: bool
    metadata: dict[str, Any]
    outputs: dict[str, str]
    """Port → URI."""
    parameters: dict[str, Any]
    ended: datetime
    message: str = ""
    """Why it failed."""

    @property
    def name(self) -> str:
        """The task's in the compiled file."""
        return self.step.partition("[")[0].replace("_", "-")

    @property
    def started(self) -> datetime:
        return self.ended - timedelta(seconds=self.metadata.get("seconds", 0.0))


@dataclass(frozen=True)
class Ran:
    """A whole run."""

    tasks: tuple[Task, ...]
    created: datetime = CREATED
    seconds: float = 90.0
    parameters: dict[str, Any] = None  # type: ignore[assignment]

    @property
    def ended(self) -> datetime:
        return self.created + timedelta(seconds=self.seconds)

    @property
    def failed(self) -> bool:
        return any(task.message for task in self.tasks)

    def failing(self, step: str, message: str) -> "Ran":
        """The same, ended where a step failed."""
        kept = []
        for task in self.tasks:
            if task.step == step:
                kept.append(replace(task, outputs={}, parameters={}, message=message))
                break
            kept.append(task)
        return replace(self, tasks=tuple(kept))


def of_events(folder: Path, bucket: Bucket, prefix: str = "runs") -> Ran:
    """What a run's folder tells; what its steps gave is put into the bucket."""
    tasks = []
    ended = CREATED
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] not in ("finished", "cached"):
            continue
        ended += timedelta(seconds=1)
        metadata = event["metadata"]
        outputs = {}
        for port, place in event["outputs"].items():
            outputs[port] = f"gs://{BUCKET}/{prefix}/{event['step'].replace('/', '-')}/{port}"
            _upload(bucket, Path(place), outputs[port])
        names = {
            "snapshot_source": {
                name: name for name in ("digest", "previous", "production", "serving")
            },
            "monitor_drift": {"Output": "verdict"},
            "decide_retraining": {"Output": "retrain"},
        }.get(event["step"], {})
        values = {name: metadata[key] for name, key in names.items()}
        tasks.append(
            Task(event["step"], event["event"] == "cached", metadata, outputs, values, ended)
        )
    return Ran(tuple(tasks), parameters=dict(PARAMETERS))


def local_record(ran: Ran, folder: Path, run_id: str) -> RunRecord:
    """The record that the run of these events left on this machine."""
    steps = []
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        outputs = {port: Path(place) for port, place in event["outputs"].items()}
        cached = event["event"] == "cached"
        steps.append(StepRecord(event["step"], cached, event["metadata"], outputs))
    return RunRecord(run_id, ran.created, folder, "c0de", {"registry": "r"}, steps, 90.0)


def comparable(summary: dict[str, Any]) -> dict[str, Any]:
    """What a run says wherever it ran; of a step that leaves nothing a service knows only the time."""
    compared = {k: v for k, v in summary.items() if k not in ("places", "run_id")}
    compared["steps"] = [
        {**step, "peak_rss_mb": None, "headline": ""} if step["name"] == "snapshot_source" else step
        for step in summary["steps"]
    ]
    return compared


def small_run(folder: Path, verdict: str = "drift", number: int = 0) -> Path:
    """A run without training, whose artifacts can be read by eye; returns its folder."""
    folder.mkdir(parents=True)
    artifacts = folder / "artifacts"
    with publish(artifacts / "log", "interactions") as staging:
        card = {"first": 100, "last": 200 + number, "quarantined": 3, "kept": 60}
        write_json(staging / "card.json", card)
        (staging / "interactions.parquet").write_bytes(b"many rows" * 50)
        row = {"file": ["a.csv"], "line": [7], "reason": ["no user"], "text": [f"row {number}"]}
        pl.DataFrame(row).write_parquet(staging / "quarantine.parquet")
    log = open_artifact(artifacts / "log")
    with publish(artifacts / "verdict", "validation", inputs={"interactions": log}) as staging:
        write_json(staging / "validation.json", {"success": True, "checks": []})
        (staging / "validation.html").write_text("<!doctype html><h1>Validation</h1>")
    with publish(artifacts / "sequences", "sequences", inputs={"interactions": log}) as staging:
        write_json(staging / "card.json", {"users": 7, "items": 5})
        (staging / "offsets.npy").write_bytes(b"numbers")
    sequences = open_artifact(artifacts / "sequences")
    alarms = [{"name": "new_item_share", "sentence": "many items are new"}]
    with publish(artifacts / "report", "drift_report", inputs={"sequences": sequences}) as staging:
        write_json(staging / "drift.json", {"verdict": verdict, "alarms": alarms, "reason": "two"})
        (staging / "report.html").write_text(f"<!doctype html><h1>Drift {number}</h1>")
    with publish(artifacts / "decision", "decision", inputs={"sequences": sequences}) as staging:
        write_json(staging / "decision.json", {"retrain": False, "reason": "not asked for"})
    (artifacts / "page").write_text("<!doctype html>")  # one file, as evaluate_models leaves some
    steps = {
        "snapshot_source": ({}, {"digest": "d1", "previous": "", "production": "", "serving": ""}),
        "ingest_interactions": ({"log": "log"}, {"rows": 60}),
        "validate_data": ({"verdict": "verdict", "page": "page"}, {"checks": 21}),
        "build_sequences": (
            {"sequences": "sequences"},
            {"users": 7, "items": 5, "interactions": 60, "split": "global_time"},
        ),
        "monitor_drift": ({"report": "report"}, {"verdict": verdict}),
        "decide_retraining": (
            {"decision": "decision"},
            {"retrain": False, "reason": "not asked for"},
        ),
    }
    with (folder / "events.jsonl").open("w", encoding="utf-8") as events:
        for step, (outputs, facts) in steps.items():
            digests = {port: output_digest(artifacts / name) for port, name in outputs.items()}
            metadata = {
                **facts,
                "headline": f"{step} · said so",
                "step": step,
                "digests": digests,
                "seconds": 0.5,
                "peak_rss_mb": 100.0,
            }
            event = {
                "event": "cached" if step == "validate_data" else "finished",
                "step": step,
                "metadata": metadata,
                "outputs": {port: str(artifacts / name) for port, name in outputs.items()},
            }
            events.write(json.dumps(event) + "\n")
    return folder


def told(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def floats(value: Any) -> Any:
    """Metadata as a `google.protobuf.Struct` keeps it: every number is one of floating point."""
    if isinstance(value, dict):
        return {key: floats(inner) for key, inner in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def artifacts_of(task: Task) -> list[tuple[str, str, dict[str, Any]]]:
    """The step's, and the log that KFP adds to each task where it is told to."""
    ours = [(port, uri, floats(task.metadata)) for port, uri in task.outputs.items()]
    return [("executor-logs", f"gs://shop/logs/{task.step}", {}), *ours]


def spec() -> str:
    """The compiled pipeline, as it was sent."""
    return PIPELINE_FILE.read_text(encoding="utf-8")


@cache
def parsed_spec() -> dict[str, Any]:
    """Its content; nobody may change it."""
    return read_yaml(PIPELINE_FILE, "pipeline")


def _upload(bucket: Bucket, place: Path, uri: str) -> None:
    name = uri.removeprefix(f"gs://{BUCKET}/")
    for path, key in _files(place, name):
        bucket.generation += 1
        bucket.objects[key] = Stored(path.read_bytes(), bucket.generation, {})


def _files(place: Path, name: str) -> Iterator[tuple[Path, str]]:
    if place.is_file():
        yield place, name
        return
    for path in sorted(place.rglob("*")):
        if path.is_file():
            yield path, f"{name}/{path.relative_to(place).as_posix()}"
