"""`summary.json`: the contract between a run, the dashboard and CI."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.record import RunRecord
from slmrec import __version__
from slmrec.registry.store import Registry
from slmrec.registry.versions import EVALUATION, TIMINGS

SCHEMA = 1
_LATENCIES = ("batch1_p50", "batch1_p95", "batch_p50", "batch_p95")


def summarise(record: RunRecord, registry: Registry) -> dict[str, Any]:
    """Everything worth knowing about a run.

    A run that had no reason to train reports the models of the version that serves.
    """
    evaluation = record.output("evaluate_models", "evaluation")
    timed = record.output("evaluate_models", "timings")
    trained = evaluation is not None
    serving = None if trained else _serving(record, registry)
    if serving is None:
        metrics = _read(evaluation, "metrics.json")
        timings, choice = _read(timed, "timings.json"), _read(timed, "choice.json")
    else:
        metrics, timings, choice = (
            registry.document(serving, name)
            for name in (
                f"{EVALUATION}/metrics.json",
                f"{TIMINGS}/timings.json",
                f"{TIMINGS}/choice.json",
            )
        )
    models = _models(metrics, timings, choice, record)
    promotion = _read(record.output("promote_model", "promotion"), "promotion.json")
    drift = _read(record.output("monitor_drift", "report"), "drift.json")
    return {
        "schema": SCHEMA,
        "run_id": record.run_id,
        "dag_version": __version__,
        "code_digest": record.code_digest,
        "started": record.started.isoformat(timespec="seconds"),
        "seconds": round(record.seconds, 3),
        "data": _data(record),
        "steps": [
            {
                "name": step.name,
                "seconds": step.metadata.get("seconds"),
                "cached": step.cached,
                "peak_rss_mb": step.metadata.get("peak_rss_mb"),
                "headline": step.metadata.get("headline", ""),
            }
            for step in record.steps
        ],
        "retrained": trained,
        "models": models,
        "student_over_teacher": _ratios({model["name"]: model for model in models}),
        "candidate": choice,
        "comparisons": metrics.get("comparisons", []),
        "users_evaluated": metrics.get("users"),
        "drift": {
            "verdict": drift.get("verdict"),
            "alarms": drift.get("alarms", []),
            "production": drift.get("production"),
        },
        "decision": _decision(record),
        "gates": promotion.get("gates", []),
        "promoted": promotion.get("promoted"),
        "promotion": promotion.get("reason"),
        "places": {
            "run": str(record.folder),
            "registry": record.parameters["registry"],
            **{
                f"{step.name}.{port}": str(path)
                for step in record.steps
                for port, path in step.outputs.items()
            },
        },
    }


def _read(directory: Path | None, name: str) -> dict[str, Any]:
    if directory is None or not (directory / name).exists():
        return {}
    content: dict[str, Any] = json.loads((directory / name).read_text(encoding="utf-8"))
    return content


def _metadata(record: RunRecord, step: str) -> dict[str, Any]:
    return next((s.metadata for s in record.steps if s.name == step), {})


def _serving(record: RunRecord, registry: Registry) -> int | None:
    """The version that served when the run began; what serves now where the run does not know."""
    known = _metadata(record, "snapshot_source").get("production")
    if known is None:
        production = registry.production()
        return None if production is None else production.number
    number = str(known).partition(" ")[0]
    return int(number) if number else None


def _data(record: RunRecord) -> dict[str, Any]:
    card = _read(record.output("ingest_interactions", "log"), "card.json")
    built = _metadata(record, "build_sequences")
    return {
        "digest": _metadata(record, "snapshot_source").get("digest"),
        "users": built.get("users"),
        "items": built.get("items"),
        "interactions": built.get("interactions"),
        "first": None if card.get("order_only") else card.get("first"),
        "last": None if card.get("order_only") else card.get("last"),
        "quarantined": card.get("quarantined"),
    }


def _decision(record: RunRecord) -> dict[str, Any]:
    # Of the artifact, not of its metadata: Kubeflow's turns true into 1.
    made = _read(record.output("decide_retraining", "decision"), "decision.json")
    return {"retrain": made.get("retrain"), "reason": made.get("reason")}


def _models(
    metrics: dict[str, Any],
    timings: dict[str, Any],
    choice: dict[str, Any],
    record: RunRecord,
) -> list[dict[str, Any]]:
    trained_in = {
        "sasrec": "pretrain_items",
        "teacher": "train_teacher",
        "student": "distill_student",
    }
    models = []
    for model in metrics.get("models", []):
        timing = timings.get(model["name"], {})
        step = trained_in.get(model["name"], "")
        models.append(
            {
                **model,
                "candidate": model["name"] == choice.get("name"),
                "train_seconds": _metadata(record, step).get("train_seconds"),
                "epoch_seconds": _metadata(record, step).get("epoch_seconds"),
                "latency_ms": {key: timing.get(key) for key in _LATENCIES},
                "users_per_second": timing.get("users_per_second"),
                "load_ms": timing.get("load_ms"),
                "peak_mb": timing.get("peak_mb"),
                "layers": {
                    "batch1_p50_ms": timing.get("layers_batch1_p50"),
                    "users_per_second": timing.get("layers_users_per_second"),
                },
            }
        )
    return models


def _ratios(models: Mapping[str, Any]) -> dict[str, float | None]:
    """How many times as fast the student is as its teacher, both measured in this run.

    An epoch of training; the layers, and whole top-10 requests, for one user and for a batch. None
    where one of both was not measured.
    """
    student, teacher = models.get("student", {}), models.get("teacher", {})

    def ratio(slow: float | None, fast: float | None) -> float | None:
        return round(slow / fast, 3) if slow and fast else None

    def time(*path: str) -> float | None:
        return ratio(_at(teacher, path), _at(student, path))

    def rate(*path: str) -> float | None:
        return ratio(_at(student, path), _at(teacher, path))

    return {
        "epoch": time("epoch_seconds"),
        "layers_batch1": time("layers", "batch1_p50_ms"),
        "layers_batch": rate("layers", "users_per_second"),
        "request_batch1": time("latency_ms", "batch1_p50"),
        "request_batch": rate("users_per_second"),
    }


def _at(content: Mapping[str, Any], path: Sequence[str]) -> float | None:
    found: Any = content
    for key in path:
        found = (found or {}).get(key)
    return found
