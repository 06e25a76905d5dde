"""Kubeflow Pipelines on loopback, after runs: what it tells of them, before and from 3.0 on."""

import re
from dataclasses import dataclass, field
from typing import Any

from tests.pipeline.fetching.metadata_server import METHODS, answer_metadata
from tests.pipeline.fetching.ran import Ran, Task, artifacts_of, parsed_spec, told
from tests.pipeline.submission.kubeflow import API, Kubeflow, checked
from tests.pipeline.submission.loopback import Asked, Refusal

PIPELINE, VERSION = "our-pipeline", "our-version"
# As the API's documents have it on the main branch in autumn 2026; a client of 3.0 is not released yet.
TASK = {
    "name", "display_name", "task_id", "run_id", "create_time", "end_time", "state", "type",
    "status_metadata", "type_attributes", "parent_task_id", "outputs",
}  # fmt: skip
TASK_STATES = {"RUNNING", "SUCCEEDED", "SKIPPED", "FAILED", "CACHED"}


def without_times(value: Any) -> Any:
    """An object for the official model, which reads times and writes them in another way."""
    if isinstance(value, list):
        return [without_times(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kept = {key: inner for key, inner in value.items() if not key.endswith(("_at", "_time"))}
    return {key: without_times(inner) for key, inner in kept.items()}


@dataclass
class KubeflowRan(Kubeflow):
    """Kubeflow Pipelines that ran something; before 3.0 where it is not `native`."""

    native: bool = True
    pages: bool = True
    """Whether the address is that of the pages, which leads to ML Metadata."""
    ran: dict[str, Ran] = field(default_factory=dict)
    """By id."""
    states: dict[str, str] = field(default_factory=dict)
    """Of runs that have not ended."""

    def answer(self, asked: Asked) -> Any:
        path = asked.path.removeprefix(API)
        if path == "pipelines":
            pipeline = {"pipeline_id": PIPELINE, "display_name": "slmrec"}
            return self._list(asked, "pipelines", [pipeline])
        if path == f"pipelines/{PIPELINE}/versions/{VERSION}":
            platform = {"pipeline_spec": parsed_spec(), "platform_spec": {}}
            return {"pipeline_version_id": VERSION, "pipeline_spec": platform}
        if path == "runs":
            assert asked.query["sort_by"] == "created_at desc"
            runs = sorted(
                (self._run(identity) for identity in [*self.ran, *self.states, "stranger"]),
                key=lambda run: run["created_at"],
                reverse=True,
            )
            return self._list(asked, "runs", runs)
        if found := re.fullmatch(r"runs/([^/]+)/tasks", path):
            if not self.native:
                raise Refusal(404, {"code": 5, "message": "Not Found"})
            return self._list(asked, "tasks", self._tasks(found[1]))
        if found := re.fullmatch(r"runs/([^/]+)", path):
            if found[1] not in {*self.ran, *self.states, "stranger"}:
                raise Refusal(404, {"code": 5, "message": f"{found[1]} not found"})
            return self._run(found[1])
        raise Refusal(404, {"code": 5, "message": "Not Found"})

    def reply(self, asked: Asked) -> tuple[int, Any]:
        if not asked.path.startswith(METHODS) or self.native or not self.pages:
            return super().reply(asked)
        self.asked.append(asked)
        try:
            return 200, answer_metadata(self.ran, asked)
        except BaseException as error:
            self.wrong.append(error)
            return 500, {"message": repr(error)}

    def _run(self, identity: str) -> dict[str, Any]:
        reference = {"pipeline_id": PIPELINE, "pipeline_version_id": VERSION}
        if identity == "stranger":
            reference = {"pipeline_id": "theirs", "pipeline_version_id": "theirs"}
        ran = self.ran.get(identity, Ran((), parameters={}))
        state = "FAILED" if ran.failed else "SUCCEEDED"
        run: dict[str, Any] = {
            "run_id": identity,
            "display_name": f"run {identity}",
            "pipeline_version_reference": reference,
            "runtime_config": {"parameters": ran.parameters},
            "created_at": told(ran.created),
            "state": self.states.get(identity, state),
        }
        if identity not in self.states:
            run["finished_at"] = told(ran.ended)
        if ran.failed:
            run["error"] = {"code": 13, "message": "the run failed"}
            if not self.native:
                run["run_details"] = {
                    "task_details": [
                        {
                            "run_id": identity,
                            "task_id": f"node-{place}",
                            "display_name": name,
                            "end_time": told(task.ended),
                            "state": "FAILED" if task.message else "SUCCEEDED",
                            "state_history": [
                                {
                                    "update_time": told(task.ended),
                                    "state": "FAILED",
                                    "error": {"code": 13, "message": task.message},
                                }
                            ]
                            if task.message
                            else [],
                        }
                        for place, task in enumerate(ran.tasks)
                        for name in (f"{task.name}-driver", task.name)
                    ]
                }
        checked(without_times(run), "V2beta1Run")
        return run

    def _tasks(self, identity: str) -> list[dict[str, Any]]:
        ran = self.ran[identity]
        whole: list[dict[str, Any]] = [
            {
                "name": name,
                "display_name": name,
                "task_id": f"dag-{name}",
                "run_id": identity,
                "create_time": told(ran.created),
                "end_time": told(ran.ended),
                "state": "SKIPPED" if name == "condition-1" else "SUCCEEDED",
                "type": kind,
            }
            for name, kind in (
                ("root", "ROOT"),
                ("condition-1", "CONDITION"),
                ("for-loop-1", "LOOP"),
            )
        ]
        whole += [self._task(identity, place, task) for place, task in enumerate(ran.tasks)]
        for task in whole:
            assert set(task) <= TASK
            assert task["state"] in TASK_STATES
        return whole

    def _task(self, identity: str, place: int, task: Task) -> dict[str, Any]:
        state = "FAILED" if task.message else "CACHED" if task.cached else "SUCCEEDED"
        artifacts = [
            {
                "artifact_key": port,
                "type": "OUTPUT",
                "artifacts": [{"artifact_id": f"{place}-{port}", "uri": uri, "metadata": metadata}],
            }
            for port, uri, metadata in artifacts_of(task)
        ]
        values = [
            {"parameter_key": name, "value": value, "type": "OUTPUT"}
            for name, value in task.parameters.items()
        ]
        found: dict[str, Any] = {
            "name": task.name,
            "display_name": task.name,
            "task_id": f"task-{place}",
            "run_id": identity,
            "create_time": told(task.started),
            "end_time": told(task.ended),
            "state": state,
            "type": "RUNTIME",
            "outputs": {"artifacts": artifacts, "parameters": values},
        }
        if task.message:
            found["status_metadata"] = {"message": task.message}
        return found
