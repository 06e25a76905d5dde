"""Vertex AI and its Cloud Storage on loopback, strict about fields and their types."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.pipeline.submission.loopback import Asked, Refusal, Service, page

PARENT = "projects/shop/locations/europe-west4"
API = f"/v1/{PARENT}/"
# The fields of https://cloud.google.com/vertex-ai/docs/reference/rest/v1 that a request may set.
JOB = {
    "displayName": str,
    "pipelineSpec": dict,
    "labels": dict,
    "runtimeConfig": dict,
    "serviceAccount": str,
}
RUNTIME = {"gcsOutputDirectory": str, "parameterValues": dict, "failurePolicy": str}
SCHEDULE = {
    "displayName": str,
    "cron": str,
    "maxConcurrentRunCount": str,  # int64 is text in JSON
    "allowQueueing": bool,
    "createPipelineJobRequest": dict,
}


def checked(body: dict[str, Any], allowed: dict[str, type], *needed: str) -> dict[str, Any]:
    """A body with no other fields than allowed, of their types."""
    for name, value in body.items():
        assert isinstance(value, allowed[name]), name
    assert set(needed) <= set(body)
    return body


def checked_job(job: dict[str, Any]) -> dict[str, Any]:
    checked(job, JOB, "displayName", "pipelineSpec", "runtimeConfig")
    runtime = checked(job["runtimeConfig"], RUNTIME, "gcsOutputDirectory", "parameterValues")
    assert runtime["gcsOutputDirectory"].startswith("gs://")
    for name, value in job["labels"].items():
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name)
        assert re.fullmatch(r"[a-z0-9_-]{0,63}", value)
    assert job["pipelineSpec"]["schemaVersion"] == "2.1.0"  # of which on there are parameterValues
    return job


@dataclass
class Vertex(Service):
    """The parts of both services that are asked for anything."""

    token: str = "valid"
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    """BUCKET/NAME → text."""

    def answer(self, asked: Asked) -> Any:
        if asked.headers.get("authorization", asked.headers.get("Authorization")) != (
            f"Bearer {self.token}"
        ):
            raise Refusal(401, {"error": {"code": 401, "message": "invalid credentials"}})
        if found := re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)", asked.path):
            name = f"{found[1]}/{unquote(found[2])}"
            if name not in self.objects:
                raise Refusal(404, {"error": {"code": 404, "message": "no such object"}})
            return {"name": name}
        if found := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", asked.path):
            return self._keep(asked, found[1])
        assert asked.path.startswith(API)
        path = asked.path.removeprefix(API)
        if path == "pipelineJobs":
            return self._start(asked)
        if path.startswith("pipelineJobs/"):
            assert asked.method == "GET"
            return self._job(path.removeprefix("pipelineJobs/"))
        if path == "schedules":
            return self._list(asked) if asked.method == "GET" else self._create(asked)
        identity, _, verb = path.removeprefix("schedules/").partition(":")
        if identity not in self.schedules:
            raise Refusal(404, {"error": {"code": 404, "message": f"{identity} not found"}})
        if verb:
            assert asked.body == {"pause": {}, "resume": {"catchUp": False}}[verb]
            self.schedules[identity]["state"] = {"pause": "PAUSED", "resume": "ACTIVE"}[verb]
            return {}
        assert asked.method == "DELETE"
        del self.schedules[identity]
        return {"name": f"{PARENT}/operations/1", "done": True, "response": {}}

    def _keep(self, asked: Asked, bucket: str) -> dict[str, Any]:
        assert (asked.query["uploadType"], asked.query["ifGenerationMatch"]) == ("media", "0")
        name = f"{bucket}/{asked.query['name']}"
        if name in self.objects:
            raise Refusal(412, {"error": {"code": 412, "message": "there already"}})
        assert name.endswith(f"/sha256-{hashlib.sha256(asked.content).hexdigest()[:16]}.yaml")
        self.objects[name] = asked.content.decode()
        return {"name": name}

    def _start(self, asked: Asked) -> dict[str, Any]:
        job = checked_job(asked.body)
        identity = asked.query["pipelineJobId"]
        assert re.fullmatch(r"[a-z][-a-z0-9]{0,127}", identity)
        if identity in self.jobs:
            raise Refusal(409, {"error": {"code": 409, "message": "ALREADY_EXISTS"}})
        self.jobs[identity] = job
        return self._job(identity)

    def _job(self, identity: str) -> dict[str, Any]:
        if identity not in self.jobs:
            raise Refusal(404, {"error": {"code": 404, "message": f"{identity} not found"}})
        return {
            **self.jobs[identity],
            "name": f"{PARENT}/pipelineJobs/{identity}",
            "state": "PIPELINE_STATE_PENDING",
        }

    def _create(self, asked: Asked) -> dict[str, Any]:
        schedule = checked(asked.body, SCHEDULE, *SCHEDULE)
        request = checked(
            schedule["createPipelineJobRequest"], {"parent": str, "pipelineJob": dict}, "parent"
        )
        assert request["parent"] == PARENT
        checked_job(request["pipelineJob"])
        identity = str(len(self.schedules) + 1001)
        self.schedules[identity] = {
            **schedule,
            "name": f"{PARENT}/schedules/{identity}",
            "createTime": f"2026-01-01T00:00:00.{identity}Z",
            "state": "ACTIVE",
        }
        return self.schedules[identity]

    def _list(self, asked: Asked) -> dict[str, Any]:
        found = list(self.schedules.values())
        if "filter" in asked.query:
            wanted = re.fullmatch(r'display_name="([^"]+)"', asked.query["filter"])
            assert wanted
            found = [one for one in found if one["displayName"] == wanted[1]]
        shown, token = page(found, asked.query.get("pageToken", ""))
        return {
            name: value for name, value in (("schedules", shown), ("nextPageToken", token)) if value
        }
