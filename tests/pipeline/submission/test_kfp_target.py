"""`submit` against Kubeflow Pipelines, request by request."""

import json
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.code import code_digest
from pipeline.submission import transport
from pipeline.submission.transport import SubmissionError, UnansweredError
from slmrec.errors import ConfigError
from tests.pipeline.submission.calls import IMAGE, RUN, call, refusal
from tests.pipeline.submission.kubeflow import API, Kubeflow
from tests.pipeline.submission.loopback import CUT, GONE, serve
from tests.pipeline.submission.scheduled import SCHEDULE, at, create

UPLOAD = f"POST {API}pipelines/upload_version"


def test_a_run_starts_from_an_uploaded_version_when_all_is_new(kubeflow: Kubeflow) -> None:
    made = json.loads(
        call("submit", *at(kubeflow), *RUN, "--force", "--root", "gs://shop/runs", "--json")
    )
    assert kubeflow.lines("POST", "DELETE") == [
        f"POST {API}pipelines",
        UPLOAD,
        f"POST {API}experiments",
        f"POST {API}runs",
    ]
    (version,) = kubeflow.versions.values()
    document = kubeflow.documents[version["name"]]
    assert made["version"] == version["name"]
    assert made["uploaded"] is True
    assert made["link"] == f"{kubeflow.url}/#/runs/details/runs-1"
    assert IMAGE in document
    (pipeline,) = kubeflow.held["pipelines"].values()
    assert pipeline["display_name"] == "slmrec"
    run = kubeflow.held["runs"][made["run"]]
    assert run["runtime_config"]["pipeline_root"] == "gs://shop/runs"
    parameters = run["runtime_config"]["parameters"]
    assert parameters["interactions"] == "sample:"
    assert parameters["registry"] == "gs://shop/models"
    assert parameters["force"] is True
    assert parameters["code_digest"] == code_digest()
    assert datetime.fromisoformat(parameters["started"]).tzinfo is not None
    declared = yaml.safe_load(document)["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == set(declared)


def test_a_document_is_not_uploaded_again_when_its_digest_is_there(kubeflow: Kubeflow) -> None:
    call("submit", *at(kubeflow), *RUN)
    said = call("submit", *at(kubeflow), *RUN, "--set", "cache_teacher.shards=3")
    assert "was there already" in said
    assert kubeflow.lines("POST").count(UPLOAD) == 1
    assert len(kubeflow.held["runs"]) == 2
    assert len(kubeflow.held["experiments"]) == len(kubeflow.held["pipelines"]) == 1
    other = IMAGE.replace("0a", "0b")
    assert "uploaded" in call("submit", *at(kubeflow), *RUN[:2], "--image", other)
    assert kubeflow.lines("POST").count(UPLOAD) == 2


def test_somebody_elses_upload_is_used_when_it_came_first(kubeflow: Kubeflow) -> None:
    call("submit", *at(kubeflow), *RUN)
    late = dict(kubeflow.versions)
    kubeflow.versions.clear()

    def appear(path: str, answer=kubeflow.answer):
        if path.path.endswith("upload_version"):
            kubeflow.versions |= late  # between our look and our upload
        return answer(path)

    kubeflow.answer = appear  # type: ignore[method-assign]
    made = json.loads(call("submit", *at(kubeflow), *RUN, "--json"))
    assert (made["uploaded"], len(kubeflow.held["runs"])) == (False, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "cache_teacher.shard=3"), r"cache_teacher\.shard: unknown key"),
        (("--interactions", "log.csv"), "--interactions log.csv: other machines do not have it"),
        (("--interactions", "s3://shop/log"), "s3://shop/log: other machines do not have it"),
        (("--items", "items.csv"), "--items items.csv: other machines do not have it"),
        (("--registry", "models"), "--registry models: other machines"),
        (("--registry", "/gcs/shop/models"), "expected gs://shop/models, or an absolute path in"),
        (("--registry", "/s3/shop/models"), "expected gs://BUCKET/PREFIX, or an absolute path in"),
        (("--registry", ""), "--registry: missing; the steps run on other machines"),
        (("--image", "a b"), "--image 'a b': expected"),
        (("--project", "", "--location", "here"), "--location: not for --target kfp"),
        (("--deployment", "none.yaml"), "none.yaml: no such deployment file"),
    ],
)
def test_nothing_is_sent_when_an_option_is_wrong(
    kubeflow: Kubeflow, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        call("submit", *at(kubeflow), *RUN, *options)
    assert kubeflow.asked == []


def test_nothing_is_sent_when_a_parameter_is_unknown(
    kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiled = Path("pipeline.yaml").read_text(encoding="utf-8")
    stale = yaml.safe_load(compiled)
    del stale["root"]["inputDefinitions"]["parameters"]["settings_digest"]
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(stale), encoding="utf-8")
    monkeypatch.setattr("pipeline.submission.prepare.PIPELINE_FILE", tmp_path / "pipeline.yaml")
    said = refusal("submit", *at(kubeflow), *RUN)
    assert "parameter 'settings_digest': unknown to the compiled pipeline" in said
    assert kubeflow.asked == []


def test_nothing_is_sent_when_it_is_a_dry_run(kubeflow: Kubeflow) -> None:
    told = json.loads(call("submit", *at(kubeflow), *RUN, "--dry-run"))
    assert kubeflow.asked == []
    told_too = json.loads(call("schedule", "create", *at(kubeflow), *SCHEDULE, *RUN, "--dry-run"))
    assert kubeflow.asked == []
    assert len(told_too["next"]) == 5
    call("submit", *at(kubeflow), *RUN)
    sent = [asked for asked in kubeflow.asked if asked.method == "POST"]
    posts = [one for one in told["requests"] if one["method"] == "POST"]
    assert [one["url"].partition("?")[0] for one in posts] == [
        kubeflow.url + asked.path for asked in sent
    ]
    assert posts[0]["body"] == sent[0].body
    assert set(posts[-1]["body"]) == set(sent[-1].body)
    assert posts[-1]["body"]["experiment_id"] == "<experiment_id>"
    assert [one["method"] for one in told_too["requests"][-2:]] == ["POST", "GET"]
    assert told_too["requests"][-2]["body"]["trigger"] == {"cron_schedule": {"cron": "0 0 5 * * *"}}


def test_runs_and_schedules_are_what_the_official_client_sends(
    kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import kfp

    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    kubeflow.failures["GET .*healthz"] = (200, {"multi_user": False})
    call("submit", *at(kubeflow), *RUN, "--root", "gs://shop/runs")
    create(kubeflow, "--root", "gs://shop/runs")
    run, schedule = (
        asked.body for asked in kubeflow.asked if asked.path.endswith("runs") and asked.content
    )
    kubeflow.failures["POST .*runs$"] = (200, {"run_id": "run"})
    with pytest.warns(FutureWarning, match="only works with Kubeflow Pipeline v2"):
        client = kfp.Client(host=kubeflow.url)
    version = {
        "pipeline_id": "pipelines-1",
        "version_id": next(iter(kubeflow.versions)),
        "pipeline_root": "gs://shop/runs",
    }
    client.run_pipeline(
        "experiments-1", run["display_name"], params=run["runtime_config"]["parameters"], **version
    )
    assert kubeflow.asked[-1].body == run
    client.create_recurring_run(
        "experiments-1",
        "nightly",
        description=schedule["description"],
        cron_expression="0 0 5 * * *",
        max_concurrency="1",
        no_catchup=True,
        params=schedule["runtime_config"]["parameters"],
        **version,
    )
    assert kubeflow.asked[-1].body == schedule


def test_an_image_that_no_cluster_can_pull_is_not_sent(kubeflow: Kubeflow) -> None:
    said = refusal("submit", *at(kubeflow), *RUN[:2])
    assert said.startswith("--image: missing; it is pulled from a registry")
    assert kubeflow.asked == []


def test_an_image_by_its_tag_is_warned_of_in_one_line(kubeflow: Kubeflow) -> None:
    command = ["submit", *at(kubeflow), *RUN[:2], "--dry-run"]
    for image, warned in (("ghcr.io/shop/slmrec:1", True), (IMAGE, False)):
        result = CliRunner().invoke(app, [*command, "--image", image])
        assert result.stderr.count("\n") == warned
        assert (f"warning: image {image}: a tag may be moved" in result.stderr) is warned
        json.loads(result.stdout)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            401,
            {"message": "expired"},
            "(401: expired); give the file of a fresh token with --token",
        ),
        (
            302,
            "",
            "(302: Found); name that address if it is the service, and if it is where people",
        ),
        (403, {"message": "no\nway"}, "not permitted (403: no way); ask for the right to run"),
        (404, "<html>", "not found (404: Not Found); check --host: it is the address of the API"),
        (200, "<html>", "answers with something else than its API's JSON; check --host"),
        (200, [], "answers with something else than its API's JSON; check --host"),
    ],
)
def test_a_refusal_says_which_and_what_to_do(
    kubeflow: Kubeflow, status: int, body: object, message: str
) -> None:
    kubeflow.failures["GET"] = (status, body)
    said = refusal("submit", *at(kubeflow), *RUN)
    assert said.startswith(f"cannot look for pipelines: {kubeflow.url}: ")
    assert message in said
    assert kubeflow.lines("POST") == []


def test_nobody_there_is_told_at_once_when_the_connection_is_refused(kubeflow: Kubeflow) -> None:
    with serve(gone := Kubeflow()):
        pass
    said = refusal("submit", *at(gone), *RUN)
    assert said == (
        f"cannot look for pipelines: {gone.url}: cannot be reached (Connection refused); check --host "
        "and the way to it (a port-forward, a proxy, a VPN)"
    )
    assert "cannot be reached" in refusal("schedule", "list", *at(gone))


def test_a_run_that_fails_tells_of_the_upload_that_did_not(kubeflow: Kubeflow) -> None:
    kubeflow.failures["POST .*runs$"] = (500, {"error": "out of order"})
    with pytest.raises(
        SubmissionError, match=r"start the run.*refused \(500: out of order\); vers"
    ) as told:
        call("submit", *at(kubeflow), *RUN)
    assert told.value.exit_code == 4
    (name,) = kubeflow.documents
    assert f"version {name} of pipeline slmrec is uploaded and will be used" in str(told.value)
    kubeflow.failures.clear()
    assert "was there already" in call("submit", *at(kubeflow), *RUN)


def test_an_answer_without_what_it_should_have_is_no_traceback(kubeflow: Kubeflow) -> None:
    kubeflow.failures["POST .*pipelines$"] = (200, {"name": "slmrec"})
    with pytest.raises(SubmissionError, match="the service answers without 'pipeline_id'"):
        call("submit", *at(kubeflow), *RUN)


@pytest.mark.parametrize("end", [CUT, GONE])
def test_a_connection_that_breaks_may_have_done_it(kubeflow: Kubeflow, end: str) -> None:
    kubeflow.failures["POST .*runs$"] = (200, end)
    with pytest.raises(UnansweredError, match=r"start the run.*broke \(.*may have been done all"):
        call("submit", *at(kubeflow), *RUN)


def test_a_deadline_ends_the_wait_when_no_answer_comes(
    kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    release = threading.Event()
    monkeypatch.setattr(transport, "ANSWER_SECONDS", 0.2)
    kubeflow.answer = lambda asked: release.wait(10) and {}  # type: ignore[method-assign]
    try:
        with pytest.raises(
            SubmissionError, match=r"no answer in 0\.2 seconds; it may have been done"
        ):
            call("submit", *at(kubeflow), *RUN)
    finally:
        release.set()


def test_the_token_goes_to_the_service_and_nowhere_else(
    kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeflow.token = "s3cret"
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with_token = (*at(kubeflow), "--token-file", str(tmp_path / "token"))
    call("submit", *with_token, *RUN)
    assert "s3cret" not in call("submit", *with_token, *RUN, "--dry-run")
    # However long the message is, and wherever it is cut.
    kubeflow.failures["GET"] = (403, {"message": "m" * 297 + "s3cret"})
    assert "s3c" not in refusal("submit", *with_token, *RUN)
    kubeflow.failures["GET"] = (403, {"message": "token s3cret may not"})
    said = refusal("submit", *with_token, *RUN)
    assert "token … may not" in said
    assert "s3cret" not in said
    for content, message in (("", "expected one token"), ("a b", "expected one token")):
        (tmp_path / "token").write_text(content)
        assert message in refusal("submit", *with_token, *RUN)
    gone = refusal("submit", *at(kubeflow), *RUN, "--token-file", str(tmp_path / "none"))
    assert "none: cannot be read as a token" in gone


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("", "--host: missing"),
        ("localhost:8080", "--host localhost:8080: expected an address such as https"),
        ("http://me:word@localhost", "an address with credentials in it; leave them out"),
        ("http://localhost:port", "expected an address"),
        ("file:///etc", "expected an address"),
    ],
)
def test_an_address_is_refused_when_it_is_none(host: str, message: str) -> None:
    said = refusal("schedule", "list", "--target", "kfp", "--host", host)
    assert message in said
    assert "word" not in said


def test_everything_is_of_a_namespace_when_one_is_named(kubeflow: Kubeflow) -> None:
    create(kubeflow, "--namespace", "team")
    assert {one.query.get("namespace") for one in kubeflow.asked if one.method == "GET"} == {"team"}
    for kind in ("pipelines", "experiments"):
        assert [one["namespace"] for one in kubeflow.held[kind].values()] == ["team"]
