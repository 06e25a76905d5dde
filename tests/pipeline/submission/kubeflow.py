"""Kubeflow Pipelines on loopback: every body has to be what the official client's models say."""

import email
import email.policy
import hashlib
import json
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import kfp_server_api

from tests.pipeline.submission.loopback import Asked, Refusal, Service, page

API = "/apis/v2beta1/"
KINDS = {
    "pipelines": ("pipeline_id", "V2beta1Pipeline", "pipelines"),
    "experiments": ("experiment_id", "V2beta1Experiment", "experiments"),
    "runs": ("run_id", "V2beta1Run", "runs"),
    "recurringruns": ("recurring_run_id", "V2beta1RecurringRun", "recurringRuns"),
}


def checked(body: dict[str, Any], model: str) -> dict[str, Any]:
    """A body that an official model gives back as it is; what it does not know would be gone."""
    client = kfp_server_api.ApiClient()
    read = client.deserialize(SimpleNamespace(data=json.dumps(body)), model)
    assert client.sanitize_for_serialization(read) == body
    return body


@dataclass
class Kubeflow(Service):
    """The parts of the service that are asked for anything."""

    token: str = ""
    held: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    """Kind → id → object."""
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    """Version's name → what was uploaded."""

    def answer(self, asked: Asked) -> Any:
        if self.token and asked.headers.get("Authorization") != f"Bearer {self.token}":
            raise Refusal(401, {"error": "Unauthenticated", "code": 16, "message": "bad token"})
        assert asked.path.startswith(API)
        path = asked.path.removeprefix(API)
        if path == "pipelines/upload_version":
            return self._upload(asked)
        if found := re.fullmatch(r"pipelines/([^/]+)/versions", path):
            assert found[1] in self.held["pipelines"]
            return self._list(asked, "pipeline_versions", list(self.versions.values()))
        if found := re.fullmatch(r"recurringruns/([^/:]+)(:enable|:disable)?", path):
            return self._change(asked, found[1], found[2] or "")
        identity, model, key = KINDS[path]
        if asked.method == "GET":
            return self._list(asked, key, list(self.held[path].values()))
        assert asked.method == "POST"
        assert asked.headers["Content-Type"] == "application/json"
        made = {**checked(asked.body, model), identity: f"{path}-{len(self.held[path]) + 1}"}
        if path in ("runs", "recurringruns"):
            self._require_references(made)
            made.setdefault("service_account", "pipeline-runner")  # as the service does
        if path == "recurringruns":
            made["status"] = "ENABLED"
            made["created_at"] = f"2026-01-01T00:00:{len(self.held[path]):02}Z"
        self.held[path][made[identity]] = made
        return made

    def _require_references(self, made: dict[str, Any]) -> None:
        reference = made["pipeline_version_reference"]
        assert reference["pipeline_id"] in self.held["pipelines"]
        assert reference["pipeline_version_id"] in self.versions
        assert made["experiment_id"] in self.held["experiments"]

    def _list(self, asked: Asked, key: str, found: list[dict[str, Any]]) -> dict[str, Any]:
        assert asked.method == "GET"
        if "filter" in asked.query:
            wanted = checked(json.loads(asked.query["filter"]), "V2beta1Filter")
            (predicate,) = wanted["predicates"]
            assert (predicate["operation"], predicate["key"]) == ("EQUALS", "display_name")
            found = [one for one in found if one["display_name"] == predicate["string_value"]]
        shown, token = page(found, asked.query.get("page_token", ""))
        # An empty list is left out, as the service does.
        return {name: value for name, value in ((key, shown), ("next_page_token", token)) if value}

    def _upload(self, asked: Asked) -> dict[str, Any]:
        head = f"Content-Type: {asked.headers['Content-Type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + asked.content, policy=email.policy.default)
        (part,) = form.iter_parts()
        assert part.get_param("name", header="content-disposition") == "uploadfile"
        content = part.get_payload(decode=True)
        name, pipeline = asked.query["name"], asked.query["pipelineid"]
        assert pipeline in self.held["pipelines"]
        assert name == f"sha256-{hashlib.sha256(content).hexdigest()[:16]}"
        if any(version["name"] == name for version in self.versions.values()):
            raise Refusal(409, {"code": 6, "message": "already exists"})
        version = {
            "pipeline_id": pipeline,
            "pipeline_version_id": f"version-{len(self.versions) + 1}",
            "name": name,
            "display_name": name,
        }
        self.versions[version["pipeline_version_id"]] = version
        self.documents[name] = content.decode()
        return version

    def _change(self, asked: Asked, identity: str, verb: str) -> dict[str, Any]:
        if identity not in self.held["recurringruns"]:
            raise Refusal(404, {"code": 5, "message": f"{identity} not found"})
        if verb:
            assert asked.method == "POST"
            self.held["recurringruns"][identity]["status"] = f"{verb[1:].upper()}D"
        else:
            assert asked.method == "DELETE"
            del self.held["recurringruns"][identity]
        return {}
