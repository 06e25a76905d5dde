"""Runs on Vertex AI: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

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
from pipeline.submission.transport import Request
from pipeline.submission.vertex_api import VERSION_LABEL, VertexApi
from slmrec.errors import ConfigError

_ENDED = ("SUCCEEDED", "FAILED")
_LISTED = "name,displayName,state,createTime,labels"
_STATES = {"SUCCEEDED": "executed", "SKIPPED": "cached", "FAILED": "failed"}
"""Of a task; SKIPPED is a hit of the cache, NOT_TRIGGERED a condition that did not hold."""


@dataclass(frozen=True)
class VertexRuns:
    """The runs in a project and a location."""

    api: VertexApi

    def newest(self) -> Iterator[RunHandle]:
        """Runs of this pipeline that have ended, newest first."""
        ended = " OR ".join(f'state="PIPELINE_STATE_{state}"' for state in _ENDED)
        query = {
            "filter": f'pipeline_name="{NAME}" AND ({ended})',
            "orderBy": "create_time desc",
            "readMask": _LISTED,
        }
        for job in self.api.list("list the runs", "pipelineJobs", query):
            if (job.get("labels") or {}).get(VERSION_LABEL):
                yield _handle(job)

    def find(self, name: str) -> RunHandle:
        """The run of an id, or of the whole name that 'submit' prints."""
        job = self._job(name.rpartition("/")[2])
        if not (job.get("labels") or {}).get(VERSION_LABEL):
            raise ConfigError(f"run {name}: not one of this pipeline, which 'submit' started")
        return _handle(job)

    def read(self, handle: RunHandle) -> RemoteRun:
        """All about a run that has ended."""
        job = self._job(handle.id.rpartition("/")[2])
        spec = whole_numbers(job["pipelineSpec"])
        known = frozenset(steps(spec))
        found = ((job.get("jobDetail") or {}).get("taskDetails")) or ()
        tasks = [task for task in (_task(detail, known) for detail in found) if task is not None]
        return RemoteRun(
            handle=handle,
            link=self.api.page("runs", handle.id.rpartition("/")[2]),
            started=moment(job.get("startTime") or job["createTime"]),
            ended=moment(job["endTime"]),
            parameters=whole_numbers((job.get("runtimeConfig") or {}).get("parameterValues") or {}),
            spec=spec,
            tasks=tuple(sorted(tasks, key=lambda task: task.ended)),
            message=_words(job),
        )

    def _job(self, identity: str) -> dict[str, Any]:
        url = self.api.url(f"pipelineJobs/{quote(identity, safe='')}")
        job = self.api.transport.send(Request("read the run", "GET", url, tolerated=(404,)))
        if not job:
            raise ConfigError(
                f"run {identity}: not there; expected the id of a run in project "
                f"{self.api.project}, {self.api.location}"
            )
        return job


def _handle(job: dict[str, Any]) -> RunHandle:
    state = str(job.get("state", "")).removeprefix("PIPELINE_STATE_")
    return RunHandle(
        service="vertex",
        id=job["name"],
        name=job["name"].rpartition("/")[2],
        state=state,
        finished=state in _ENDED,
        succeeded=state == "SUCCEEDED",
        created=moment(job["createTime"]),
    )


def _task(detail: dict[str, Any], known: frozenset[str]) -> RemoteTask | None:
    step = step_of(str(detail.get("taskName", "")), known)
    state = _STATES.get(str(detail.get("state")))
    if not step or state is None:
        return None
    outputs = {
        port: RemoteArtifact(
            str(listed["artifacts"][0].get("uri", "")),
            whole_numbers(listed["artifacts"][0].get("metadata") or {}),
        )
        for port, listed in (detail.get("outputs") or {}).items()
        if listed.get("artifacts")
    }
    values = (detail.get("execution") or {}).get("metadata") or {}
    started = detail.get("startTime") or detail["createTime"]
    return RemoteTask(
        step=step,
        state=state,  # type: ignore[arg-type]
        started=moment(started),
        ended=moment(detail.get("endTime") or started),
        outputs=outputs,
        parameters=whole_numbers(
            {
                name.removeprefix("output:"): value
                for name, value in values.items()
                if name.startswith("output:")
            }
        ),
        message=_words(detail),
    )


def _words(told: Mapping[str, Any]) -> str:
    return str((told.get("error") or {}).get("message", ""))
