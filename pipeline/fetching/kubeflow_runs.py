"""Runs on Kubeflow Pipelines.

From 3.0 on the API itself tells of a run's tasks and artifacts (kubeflow/pipelines, pull request
13986). Before, what tasks gave stands in ML Metadata only: `pipeline.fetching.ml_metadata`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.fetching.ml_metadata import executed_tasks
from pipeline.fetching.remote import (
    RemoteArtifact,
    RemoteRun,
    RemoteTask,
    RunHandle,
    moment,
    step_of,
    whole_numbers,
)
from pipeline.submission.bundle import NAME, steps
from pipeline.submission.kfp_api import KubeflowApi, quoted
from slmrec.errors import ConfigError

_ENDED = ("SUCCEEDED", "FAILED")
_STATES = {"SUCCEEDED": "executed", "CACHED": "cached", "FAILED": "failed"}
"""Of a task; SKIPPED is a condition that did not hold."""
_UNKNOWN = (404, 405, 501)
"""Statuses with which a service says that it has no such part."""


@dataclass
class KubeflowRuns:
    """The runs of an installation, or of a namespace in it."""

    api: KubeflowApi
    _specs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Version → what runs."""

    def newest(self) -> Iterator[RunHandle]:
        """Runs of this pipeline, newest first."""
        pipeline = self._pipeline()
        if not pipeline:
            return
        for run in self.api.list("list the runs", "runs", "runs", newest_first=True):
            if _version(run).get("pipeline_id") == pipeline:
                yield _handle(run)

    def find(self, name: str) -> RunHandle:
        """The run of an id."""
        run = self._run(name)
        if _version(run).get("pipeline_id") != self._pipeline():
            raise ConfigError(f"run {name}: not one of the pipeline '{NAME}'")
        return _handle(run)

    def read(self, handle: RunHandle) -> RemoteRun:
        """All about a run that has ended."""
        run = self._run(handle.id)
        spec = self._spec(run)
        known = frozenset(steps(spec))
        native = self._tasks(handle.id, known)
        ended = moment(run["finished_at"])
        if native or not handle.succeeded:
            tasks = native or _failures(run, known, ended)
        else:
            tasks = executed_tasks(self.api, handle.id, known)
        return RemoteRun(
            handle=handle,
            link=self.api.run_link(handle.id),
            started=handle.created,
            ended=ended,
            parameters=whole_numbers((run.get("runtime_config") or {}).get("parameters") or {}),
            spec=spec,
            tasks=tuple(sorted(tasks, key=lambda task: task.ended)),
            message=_words(run),
        )

    def _pipeline(self) -> str:
        """The id of this pipeline; empty where nobody has uploaded it."""
        found = self.api.named("pipelines", NAME)
        return str(found["pipeline_id"]) if found else ""

    def _run(self, identity: str) -> dict[str, Any]:
        run = self.api.get("read the run", f"runs/{quoted(identity)}", tolerated=(404,))
        if not run:
            raise ConfigError(f"run {identity}: not there; expected the id of a run at --host")
        return run

    def _spec(self, run: dict[str, Any]) -> Mapping[str, Any]:
        """What ran: of the run itself, else of its version."""
        spec = run.get("pipeline_spec")
        if not spec:
            version = _version(run)
            pipeline, identity = (
                quoted(version[name]) for name in ("pipeline_id", "pipeline_version_id")
            )
            if identity not in self._specs:
                path = f"pipelines/{pipeline}/versions/{identity}"
                found = self.api.get("read the pipeline", path)
                self._specs[identity] = found["pipeline_spec"]
            spec = self._specs[identity]
        # Where settings for Kubernetes were sent with it, both are in one object.
        return whole_numbers(spec.get("pipeline_spec", spec))

    def _tasks(self, identity: str, known: frozenset[str]) -> list[RemoteTask]:
        """What the service itself tells of a run's tasks; nothing before 3.0."""
        path = f"runs/{quoted(identity)}/tasks"
        found = self.api.list("list the run's tasks", path, "tasks", tolerated=_UNKNOWN)
        return [task for one in found if (task := _task(one, known)) is not None]


def _version(run: dict[str, Any]) -> dict[str, Any]:
    # 3.0 tells which pipeline it was even where it gives back what ran.
    return run.get("pipeline_version_reference") or run.get("pipeline_reference") or {}


def _handle(run: dict[str, Any]) -> RunHandle:
    state = str(run.get("state", ""))
    return RunHandle(
        service="kfp",
        id=run["run_id"],
        name=str(run.get("display_name") or run["run_id"]),
        state=state,
        finished=state in _ENDED,
        succeeded=state == "SUCCEEDED",
        created=moment(run["created_at"]),
    )


def _task(task: dict[str, Any], known: frozenset[str]) -> RemoteTask | None:
    step = step_of(str(task.get("name") or task.get("display_name", "")), known)
    state = _STATES.get(str(task.get("state")))
    if not step or state is None:
        return None
    outputs = task.get("outputs") or {}
    started = task["create_time"]
    return RemoteTask(
        step=step,
        state=state,  # type: ignore[arg-type]
        started=moment(started),
        ended=moment(task.get("end_time") or started),
        outputs={
            group["artifact_key"]: RemoteArtifact(
                str(group["artifacts"][0].get("uri", "")),
                whole_numbers(group["artifacts"][0].get("metadata") or {}),
            )
            for group in outputs.get("artifacts") or ()
            if group.get("artifacts")
        },
        parameters=whole_numbers(
            {one["parameter_key"]: one.get("value") for one in outputs.get("parameters") or ()}
        ),
        message=str((task.get("status_metadata") or {}).get("message", "")),
    )


def _failures(run: dict[str, Any], known: frozenset[str], ended: datetime) -> list[RemoteTask]:
    """The steps that failed, of a service before 3.0, which tells little more of a task."""
    found = []
    for task in (run.get("run_details") or {}).get("task_details") or ():
        step = step_of(str(task.get("display_name", "")), known)
        if step and task.get("state") == "FAILED":
            at = moment(task["end_time"]) if task.get("end_time") else ended
            found.append(RemoteTask(step, "failed", at, at, message=_words(task)))
    return found


def _words(told: Mapping[str, Any]) -> str:
    """What is said of a failure: here, or at the last change of state."""
    last = (told.get("state_history") or [{}])[-1]
    for error in (told.get("error"), last.get("error")):
        if error and error.get("message"):
            return str(error["message"])
    return ""
