"""`trigger` on Vertex AI: the job's id comes from the reason, so that it cannot start twice."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import google.auth
import pytest
from google.oauth2.credentials import Credentials

from slmrec.registry.store import Registry
from slmrec.storage.documents import Folder
from tests.pipeline.submission.calls import IMAGE, call
from tests.pipeline.submission.loopback import serve
from tests.pipeline.submission.triggered import TRIGGERED, everything, holding, told
from tests.pipeline.submission.vertex import API, PARENT, Vertex

UPLOAD = "POST /upload/storage/v1/b/shop/o"
STARTS = f"POST {API}pipelineJobs"


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    service = Vertex()
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    monkeypatch.setattr(google.auth, "default", lambda scopes: (Credentials("valid"), "other"))
    with serve(service):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", service.url)
        yield service


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """What `gs://shop/models` holds, in a folder: the service of these tests keeps no registry."""
    documents = Folder(tmp_path / "models")
    monkeypatch.setattr("pipeline.submission.evidence.open_documents", lambda place: documents)
    Registry(documents).ask_retraining(
        reason="season", actor="ann", time="2026-01-02T00:00:00+00:00"
    )
    return documents


def at(service: Vertex) -> tuple[str, ...]:
    place = ("--project", "shop", "--location", "europe-west4", "--endpoint", service.url)
    kept = ("--staging", "gs://shop/pipelines", "--registry", "gs://shop/models")
    return ("--target", "vertex", *place, *kept)


def test_a_run_is_looked_for_and_started_when_a_reason_holds(
    vertex: Vertex, models: Folder
) -> None:
    said = told(*at(vertex))
    assert (said["submitted"], holding(said)) == (True, ["no production", "request"])
    ((identity, job),) = vertex.jobs.items()
    assert (identity, said["run"]) == (said["run"], identity)
    assert re.fullmatch(TRIGGERED, identity)
    assert vertex.lines() == [
        f"GET {API}pipelineJobs/{identity}",
        f"GET /storage/v1/b/shop/o/pipelines%2Fslmrec%2F{said['made']['version']}.yaml",
        UPLOAD,
        STARTS,
    ]
    assert said["made"]["run"] == f"{PARENT}/pipelineJobs/{identity}"
    assert job["runtimeConfig"]["parameterValues"]["registry"] == "gs://shop/models"
    again = told(*at(vertex))
    assert again["conclusion"] == "no run is started: no production, request already had one"
    assert len(vertex.asked) == 4


def test_a_run_is_found_when_the_registry_has_lost_what_was_started(
    vertex: Vertex, models: Folder
) -> None:
    first = told(*at(vertex))
    models.remove(["triggers.json"])
    second = told(*at(vertex))
    assert (second["submitted"], second["run"]) == (False, first["run"])
    assert vertex.lines("POST").count(STARTS) == 1


def test_a_run_is_not_started_twice_when_it_comes_up_after_the_look(
    vertex: Vertex, models: Folder
) -> None:
    first = told(*at(vertex))
    models.remove(["triggers.json"])
    vertex.failures["GET .*pipelineJobs/"] = (404, {})

    def start(asked, answer=vertex.answer):  # type: ignore[no-untyped-def]
        if asked.line == STARTS:
            vertex.failures.clear()
        return answer(asked)

    vertex.answer = start  # type: ignore[method-assign]
    second = told(*at(vertex))
    assert (second["submitted"], second["conclusion"]) == (
        False,
        f"run {first['run']} was started already: no production, request",
    )
    assert (vertex.lines("POST").count(STARTS), len(vertex.jobs)) == (2, 1)
    (entered,) = json.loads(models.read("triggers.json").content)["runs"]
    assert entered["id"] == f"{PARENT}/pipelineJobs/{first['run']}"


def test_nothing_is_sent_or_entered_when_it_is_a_dry_run(
    vertex: Vertex, models: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google.auth, "default", None)
    before = everything(models)
    said = json.loads(call("trigger", *at(vertex), "--image", IMAGE, "--dry-run"))
    assert [request["method"] for request in said["requests"]] == ["GET", "GET", "POST", "POST"]
    assert said["requests"][-1]["url"].endswith(f"pipelineJobs?pipelineJobId={said['run']}")
    assert vertex.asked == []
    assert everything(models) == before
