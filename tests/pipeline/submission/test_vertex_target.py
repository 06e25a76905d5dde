"""`submit` and `schedule` against Vertex AI, request by request."""

import json
from collections.abc import Iterator

import google.auth
import pytest
import yaml
from google.auth.exceptions import DefaultCredentialsError
from google.oauth2.credentials import Credentials

from components import images
from tests.pipeline.submission.calls import IMAGE, RUN, call, refusal
from tests.pipeline.submission.loopback import serve
from tests.pipeline.submission.vertex import API, PARENT, Vertex

SCHEDULE = ("--name", "nightly", "--cron", "0 5 * * *", "--time-zone", "Europe/Berlin")
UPLOAD = "POST /upload/storage/v1/b/shop/o"


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    service = Vertex()
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    monkeypatch.setattr(google.auth, "default", lambda scopes: (Credentials("valid"), "other"))
    with serve(service):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", service.url)
        yield service


def at(service: Vertex) -> tuple[str, ...]:
    place = ("--project", "shop", "--location", "europe-west4", "--endpoint", service.url)
    return ("--target", "vertex", *place)


def submit(service: Vertex, *more: str) -> str:
    return call("submit", *at(service), "--staging", "gs://shop/pipelines", *RUN, *more)


def create(service: Vertex, *more: str) -> str:
    staging = ("--staging", "gs://shop/pipelines")
    return call("schedule", "create", *at(service), *staging, *SCHEDULE, *RUN, *more)


def test_a_run_starts_with_the_document_in_it_and_kept_beside(vertex: Vertex) -> None:
    made = json.loads(submit(vertex, "--force", "--service-account", "robot@shop", "--json"))
    assert vertex.lines("POST") == [UPLOAD, f"POST {API}pipelineJobs"]
    ((name, document),) = vertex.objects.items()
    assert name == f"shop/pipelines/slmrec/{made['version']}.yaml"
    assert (made["uploaded"], IMAGE in document) == (True, True)
    ((identity, job),) = vertex.jobs.items()
    assert made["run"] == f"{PARENT}/pipelineJobs/{identity}"
    assert job["pipelineSpec"] == yaml.safe_load(document)
    assert job["labels"] == {"slmrec-version": made["version"], "slmrec-experiment": "slmrec"}
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://shop/pipelines/runs"
    assert job["runtimeConfig"]["parameterValues"]["force"] is True
    assert job["runtimeConfig"]["parameterValues"]["started"] != ""
    assert job["serviceAccount"] == "robot@shop"


def test_a_document_is_not_uploaded_again_when_its_digest_is_there(vertex: Vertex) -> None:
    submit(vertex)
    assert "was there already" in submit(vertex, "--root", "gs://shop/elsewhere")
    assert vertex.lines("POST").count(UPLOAD) == 1
    roots = [job["runtimeConfig"]["gcsOutputDirectory"] for job in vertex.jobs.values()]
    assert roots == ["gs://shop/pipelines/runs", "gs://shop/elsewhere"]
    vertex.failures["GET .*/o/"] = (404, {})  # kept by somebody else after our look
    assert "was there already" in submit(vertex)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--staging", ""), "--staging: missing; name gs://BUCKET/PREFIX"),
        (("--staging", "shop"), "shop/: expected gs://BUCKET/PREFIX as --staging"),
        (("--root", "/data"), "/data/: expected gs://BUCKET/PREFIX as --root"),
        (("--experiment", "My Own"), "--experiment My Own: on Vertex it is a label"),
        (("--interactions", "/data/log.csv"), "other machines do not have it; expected gs://"),
        (("--registry", "/gcs/shop/models"), "no mounted bucket keeps; expected gs://shop/models"),
        (("--registry", "models"), "--registry models: a registry rests on locks, which no mou"),
        (("--deployment", "pods.yaml"), "--deployment: only for --target kfp"),
        (("--namespace", "team"), "--namespace: not for --target vertex"),
        (("--project", ""), "--project: missing; expected a name of Google Cloud"),
        (("--location", "a/b"), "--location: found 'a/b'; expected a name"),
        (("--endpoint", "vertex"), "--endpoint vertex: expected an address"),
    ],
)
def test_nothing_is_sent_when_an_option_is_wrong(
    vertex: Vertex, options: tuple[str, ...], message: str
) -> None:
    staging = ("--staging", "gs://shop/pipelines")
    assert message in refusal("submit", *at(vertex), *staging, *RUN, *options)
    assert vertex.asked == []


def test_an_image_is_asked_for_where_no_release_has_pinned_one(
    vertex: Vertex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PYTHON", images.LOCAL)
    monkeypatch.setitem(images.PINNED, "code", "")
    staging = ("--staging", "gs://shop/pipelines")
    said = refusal("submit", *at(vertex), *staging, *RUN, "--image", "")
    assert said.startswith("--image: missing; it is pulled from a registry")
    assert vertex.asked == []


def test_nothing_is_sent_and_nobody_logs_in_when_it_is_a_dry_run(
    vertex: Vertex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google.auth, "default", None)
    look, upload, start = json.loads(submit(vertex, "--dry-run"))["requests"]
    assert (look["method"], upload["method"], start["method"]) == ("GET", "POST", "POST")
    assert start["body"]["pipelineSpec"]["pipelineInfo"]["name"] == "slmrec"
    told = json.loads(create(vertex, "--dry-run"))
    assert [one["method"] for one in told["requests"][-2:]] == ["POST", "GET"]
    assert told["requests"][-2]["body"]["cron"] == "TZ=Europe/Berlin 0 5 * * *"
    assert len(told["next"]) == 5
    assert vertex.asked == []


def test_six_fields_are_refused_before_anything_is_sent(vertex: Vertex) -> None:
    said = refusal("schedule", "create", *at(vertex), *SCHEDULE, *RUN, "--cron", "0 0 5 * * *")
    assert said == (
        "--cron '0 0 5 * * *': 6 fields; Vertex reads five: minute, hour, day, month, weekday"
    )
    assert vertex.asked == []


def test_a_schedule_is_created_once_when_it_is_asked_for_twice(vertex: Vertex) -> None:
    said = create(vertex)
    assert "created schedule 'nightly', 1001" in said
    assert said.count(" 05:00:00 +0") == 5
    (schedule,) = vertex.schedules.values()
    assert schedule["cron"] == "TZ=Europe/Berlin 0 5 * * *"
    assert (schedule["maxConcurrentRunCount"], schedule["allowQueueing"]) == ("1", False)
    job = schedule["createPipelineJobRequest"]["pipelineJob"]
    assert job["runtimeConfig"]["parameterValues"]["started"] == ""
    posted = vertex.lines("POST")
    assert "schedule 'nightly' is there already, unchanged" in create(vertex)
    assert json.loads(create(vertex, "--json"))["created"] is False
    assert vertex.lines("POST") == posted


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_one_schedule_stays_when_two_people_create_it_at_once(vertex: Vertex, first: str) -> None:
    def meanwhile(asked, answer=vertex.answer):  # type: ignore[no-untyped-def]
        made = answer(asked)
        if asked.line == f"POST {API}schedules":
            time = "2026-02-01T00:00:00Z" if first == "ours" else "2025-12-01T00:00:00Z"
            name = f"{PARENT}/schedules/7"
            vertex.schedules["7"] = {**made, "name": name, "createTime": time}
        return made

    vertex.answer = meanwhile  # type: ignore[method-assign]
    said = create(vertex)
    assert ("created schedule" if first == "ours" else "is there already, unchanged") in said
    assert list(vertex.schedules) == ["1001" if first == "ours" else "7"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cron", "0 6 * * *"), "another cron ('TZ=Europe/Berlin 0 5 * * *', asked for"),
        (("--time-zone", "UTC"), "another cron"),
        (("--set", "cache_teacher.top_k=7"), "(cache_teacher_config, settings_digest)"),
        (("--image", IMAGE.replace("0a", "0b")), "another pipeline version"),
        (("--experiment", "other"), "another experiment"),
        (("--service-account", "robot"), "another service account"),
        (("--root", "gs://shop/elsewhere"), "another root"),
    ],
)
def test_a_schedule_is_refused_when_its_name_has_another_content(
    vertex: Vertex, options: tuple[str, ...], message: str
) -> None:
    create(vertex)
    posted = vertex.lines("POST")
    staging = ("--staging", "gs://shop/pipelines")
    said = refusal("schedule", "create", *at(vertex), *staging, *SCHEDULE, *RUN, *options)
    assert "schedule 'nightly': is there already with" in said
    assert message in said
    assert vertex.lines("POST") == posted


def test_a_schedule_is_listed_paused_resumed_and_deleted(vertex: Vertex) -> None:
    for name in ("nightly", "weekly", "hourly"):
        create(vertex, "--name", name)
    vertex.schedules["7"] = {"name": f"{PARENT}/schedules/7", "displayName": "other", "cron": "*"}
    listed = json.loads(call("schedule", "list", *at(vertex), "--json"))
    assert [one["name"] for one in listed] == ["hourly", "nightly", "weekly"]
    assert [one["id"] for one in listed] == ["1003", "1001", "1002"]
    assert "paused schedule 'nightly'" in call("schedule", "pause", "nightly", *at(vertex))
    assert vertex.schedules["1001"]["state"] == "PAUSED"
    assert "it is paused, 'schedule resume' starts it" in create(vertex)
    call("schedule", "resume", "nightly", *at(vertex))
    assert vertex.asked[-1].body == {"catchUp": False}
    assert vertex.schedules["1001"]["state"] == "ACTIVE"
    call("schedule", "delete", "1001", *at(vertex))
    assert vertex.lines()[-1] == f"DELETE {API}schedules/1001"
    assert "not there; found: hourly, weekly" in refusal(
        "schedule", "delete", "nightly", *at(vertex)
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "not permitted (403: told so); check that --project shop is the right one"),
        (404, "not found (404: told so); check --project, --location and the bucket of --staging"),
    ],
)
def test_a_refusal_says_which_and_what_to_do(vertex: Vertex, status: int, message: str) -> None:
    vertex.failures["pipelineJobs"] = (status, {"error": {"code": status, "message": "told so"}})
    said = refusal("submit", *at(vertex), "--staging", "gs://shop/pipelines", *RUN)
    assert said.startswith(f"cannot start the run: {vertex.url}: {message}")
    assert "the document sha256-" in said
    assert said.endswith(" is uploaded and will be used next time")


def test_credentials_that_are_over_are_told_in_a_line(vertex: Vertex) -> None:
    vertex.token = "newer"
    said = refusal("schedule", "list", *at(vertex))
    assert "the credentials cannot be used (" in said
    assert "log in with 'gcloud auth application-default login'" in said
    assert "\n" not in said
    assert len(vertex.asked) == 1


def test_credentials_that_are_not_there_are_told_in_a_line(
    vertex: Vertex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(scopes: list[str]) -> None:
        raise DefaultCredentialsError("found none")

    monkeypatch.setattr(google.auth, "default", none)
    said = refusal("schedule", "list", *at(vertex))
    assert said.startswith("--target vertex: no credentials (found none); log in with 'gcloud")


def test_nobody_there_is_told_at_once_when_the_connection_is_refused(vertex: Vertex) -> None:
    with serve(gone := Vertex()):
        pass
    said = refusal("schedule", "list", *at(gone))
    assert f"{gone.url}: cannot be reached (Connection refused); check --location" in said


def test_the_locations_own_api_is_asked_when_no_endpoint_is_named(vertex: Vertex) -> None:
    said = call(
        "submit", *at(vertex)[:-2], "--staging", "gs://shop/pipelines", *RUN, "--dry-run"
    )  # fmt: skip
    assert json.loads(said)["requests"][-1]["url"].startswith(
        f"https://europe-west4-aiplatform.googleapis.com{API}pipelineJobs?pipelineJobId=slmrec-"
    )
