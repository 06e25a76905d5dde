"""Vertex AI on loopback, after runs: what it tells of them."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.pipeline.fetching.ran import Ran, Task, floats, parsed_spec, told
from tests.pipeline.submission.loopback import Asked, Refusal, page
from tests.pipeline.submission.vertex import API, PARENT, Vertex


@dataclass
class VertexRan(Vertex):
    """Vertex AI that ran something."""

    ran: dict[str, Ran] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Any:
        path = asked.path.removeprefix(API)
        if asked.method != "GET" or not path.startswith("pipelineJobs"):
            return super().answer(asked)
        if path == "pipelineJobs":
            assert asked.query["filter"] == (
                'pipeline_name="slmrec" AND (state="PIPELINE_STATE_SUCCEEDED" OR '
                'state="PIPELINE_STATE_FAILED")'
            )
            assert asked.query["orderBy"] == "create_time desc"
            mask = set(asked.query["readMask"].split(","))
            jobs = [self._job(identity) for identity in [*self.ran, "stranger"]]
            listed = [{k: v for k, v in job.items() if k in mask} for job in jobs]
            listed.sort(key=lambda job: job["createTime"], reverse=True)
            shown, token = page(listed, asked.query.get("pageToken", ""))
            return {"pipelineJobs": shown, "nextPageToken": token}
        identity = path.removeprefix("pipelineJobs/")
        if identity not in {*self.ran, *self.states, "stranger"}:
            raise Refusal(404, {"error": {"code": 404, "message": f"{identity} not found"}})
        return self._job(identity)

    def _job(self, identity: str) -> dict[str, Any]:
        ran = self.ran.get(identity, Ran((), parameters={}))
        state = self.states.get(identity, "FAILED" if ran.failed else "SUCCEEDED")
        job: dict[str, Any] = {
            "name": f"projects/123/locations/europe-west4/pipelineJobs/{identity}",
            "displayName": "slmrec",
            "createTime": told(ran.created),
            "startTime": told(ran.created),
            "endTime": told(ran.ended),
            "state": f"PIPELINE_STATE_{state}",
            "pipelineSpec": parsed_spec(),
            "labels": {} if identity == "stranger" else {"slmrec-version": "sha256-0a"},
            "runtimeConfig": {"parameterValues": ran.parameters},
            "jobDetail": {"taskDetails": self._details(ran)},
        }
        if ran.failed:
            job["error"] = {"code": 9, "message": "The DAG failed because some tasks failed."}
        return job

    def _details(self, ran: Ran) -> list[dict[str, Any]]:
        dags = [
            {"taskId": str(900 + place), "taskName": name, "state": state, "createTime": told(at)}
            for place, (name, state, at) in enumerate(
                (
                    ("slmrec", "SUCCEEDED", ran.created),
                    ("condition-1", "NOT_TRIGGERED", ran.ended),
                    ("pretrain-items", "NOT_TRIGGERED", ran.ended),
                )
            )
        ]
        return dags + [self._detail(place, task) for place, task in enumerate(ran.tasks)]

    def _detail(self, place: int, task: Task) -> dict[str, Any]:
        state = "FAILED" if task.message else "SKIPPED" if task.cached else "SUCCEEDED"
        instance = f"-{place}" if "[" in task.step else ""  # iterations carry their number
        values = {f"output:{name}": value for name, value in task.parameters.items()}
        detail: dict[str, Any] = {
            "taskId": str(place),
            "parentTaskId": "900",
            "taskName": f"{task.name}{instance}",
            "createTime": told(task.started - timedelta(seconds=5)),
            "startTime": told(task.started),
            "endTime": told(task.ended),
            "state": state,
            "execution": {
                "name": f"{PARENT}/metadataStores/default/executions/{place}",
                "state": "COMPLETE",
                "metadata": {"input:config": "{}", **floats(values)},
            },
            "outputs": {
                port: {
                    "artifacts": [
                        {
                            "name": f"{PARENT}/metadataStores/default/artifacts/{place}",
                            "displayName": port,
                            "uri": uri,
                            "schemaTitle": "system.Dataset",
                            "metadata": floats(task.metadata),
                        }
                    ]
                }
                for port, uri in task.outputs.items()
            },
        }
        if task.message:
            detail["error"] = {"code": 9, "message": task.message}
        return detail
