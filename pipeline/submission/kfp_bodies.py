"""The messages of Kubeflow's API that say what runs: made from ours, and read back."""

from typing import Any

from pipeline.submission.bundle import Bundle
from pipeline.submission.cron import Cron
from pipeline.submission.target import Job, Schedule

FILLED = ("root", "service account")
"""What the service fills in itself where nothing was asked for."""
_ZONE = ", times in "


def reference_to(version: dict[str, Any]) -> dict[str, str]:
    """A version as runs and schedules name it."""
    return {name: version[name] for name in ("pipeline_id", "pipeline_version_id")}


def work(
    bundle: Bundle, job: Job, experiment: str, reference: dict[str, str] | None, name: str
) -> dict[str, Any]:
    """What runs and schedules have in common."""
    root = {"pipeline_root": job.root} if job.root else {}
    account = {"service_account": job.service_account} if job.service_account else {}
    return {
        "display_name": name,
        "experiment_id": experiment,
        "pipeline_version_reference": reference,
        "runtime_config": {"parameters": bundle.parameters, **root},
        **account,
    }


def recurring(
    bundle: Bundle,
    job: Job,
    experiment: str,
    reference: dict[str, str] | None,
    name: str,
    cron: Cron,
) -> dict[str, Any]:
    """A schedule: one run at a time, and what was missed stays missed."""
    return {
        **work(bundle, job, experiment, reference, name),
        "description": f"{bundle.version}{_ZONE}{cron.zone}",
        "trigger": {"cron_schedule": {"cron": cron.text}},
        "mode": "ENABLE",
        "max_concurrency": "1",
        "no_catchup": True,
    }


def compared(schedule: dict[str, Any]) -> dict[str, Any]:
    """What makes a schedule another one, by the words that people know it by."""
    runtime = schedule.get("runtime_config") or {}
    reference = schedule.get("pipeline_version_reference") or {}
    return {
        "pipeline version": reference.get("pipeline_version_id"),
        "cron": schedule.get("trigger", {}).get("cron_schedule", {}).get("cron"),
        "parameters": runtime.get("parameters") or {},
        "root": runtime.get("pipeline_root") or "",
        "experiment": schedule.get("experiment_id"),
        "service account": schedule.get("service_account") or "",
        "time zone": (schedule.get("description") or "").rpartition(_ZONE)[2],
        "concurrency": str(schedule.get("max_concurrency")),
        "catch-up": schedule.get("no_catchup"),
    }


def listed(schedule: dict[str, Any]) -> Schedule:
    """A schedule as people see it."""
    return Schedule(
        name=schedule.get("display_name", ""),
        id=schedule["recurring_run_id"],
        cron=schedule.get("trigger", {}).get("cron_schedule", {}).get("cron", ""),
        paused=schedule.get("status", schedule.get("mode")) in ("DISABLED", "DISABLE"),
        version=schedule.get("description", ""),
    )
