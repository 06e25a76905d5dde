"""`fetch` against each kind of service: what is then in the home, and what is not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.fetch import LOCK, NotFetchedError
from pipeline.summary import summarise
from slmrec.artifacts import canonical_json, digest_text, open_artifact
from slmrec.dashboard.app import create_app
from slmrec.dashboard.security import Access
from slmrec.errors import ArtifactError
from slmrec.registry.store import Registry
from tests.dashboard.conftest import HERE, walk
from tests.pipeline.fetching.conftest import Ask
from tests.pipeline.fetching.ran import CREATED, Ran, comparable, local_record, of_events, small_run
from tests.pipeline.submission.calls import call, refusal
from tests.storage.cloud import Bucket

KINDS = ("kfp", "kfp-before-3", "vertex")
Start = Callable[[str], Ask]


def fetch(ask: Ask, home: Path, *more: str) -> dict[str, Any]:
    return json.loads(call("fetch", *ask.options, "--home", str(home), "--json", *more))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != LOCK
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_fetched_run_says_what_the_same_run_here_says(
    kind: str, start: Start, ran: Ran, folder: Path, tmp_path: Path
) -> None:
    ask = start(kind)
    ask.service.ran["r1"] = ran
    home = tmp_path / "home"
    told = fetch(ask, home)
    (run,) = told["fetched"]
    assert run["verdict"] == "drift: drift"
    assert run["run"].startswith(f"20260228-120000-250000-{ask.options[1]}-")
    summary = json.loads((home / "runs" / run["run"] / "summary.json").read_text())
    here = summarise(local_record(ran, folder, run["run"]), Registry(tmp_path / "registry"))
    assert comparable(summary) == comparable(here)
    assert summary["places"].keys() == here["places"].keys() | {"service"}
    assert summary["places"]["service"].startswith("http")
    assert "r1" in summary["places"]["service"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_changes_when_everything_is_there(
    kind: str, start: Start, ran: Ran, bucket: Bucket, tmp_path: Path
) -> None:
    ask = start(kind)
    ask.service.ran["r1"] = ran
    fetch(ask, tmp_path / "home")
    before = contents(tmp_path / "home")
    asked = len(bucket.requests)
    again = fetch(ask, tmp_path / "home")
    assert (again["fetched"], again["there"], again["refused"]) == ([], 1, [])
    assert contents(tmp_path / "home") == before
    assert len(bucket.requests) == asked


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_answers_and_tells_the_verdict(
    kind: str, start: Start, ran: Ran, tmp_path: Path
) -> None:
    from litestar.testing import TestClient

    ask = start(kind)
    ask.service.ran["r1"] = ran
    home = tmp_path / "home"
    (run,) = fetch(ask, home)["fetched"]
    site = create_app(home, Registry(home / "registry"), Access(actor="ann"), lambda: CREATED)
    with TestClient(site, base_url=HERE, raise_server_exceptions=False) as client:
        client.follow_redirects = False
        pages = walk(client)
    assert "many items are new" in pages["/"]
    assert "ingest_interactions · said so" in pages[f"/runs/{run['run']}"]
    assert 'alt="The steps of the run' in pages[f"/runs/{run['run']}"]
    assert "no user" in pages["/data/quarantine/1"]
    assert f"/runs/{run['run']}/drift" in pages


def test_only_what_is_read_is_fetched_until_all_is_asked_for(
    start: Start, ran: Ran, tmp_path: Path
) -> None:
    ask = start("kfp")
    ask.service.ran["r1"] = ran
    home = tmp_path / "home"
    (run,) = fetch(ask, home)["fetched"]
    places = json.loads((home / "runs" / run["run"] / "summary.json").read_text())["places"]
    log = Path(places["ingest_interactions.log"])
    assert {path.name for path in log.iterdir()} == {
        "manifest.json",
        "card.json",
        "quarantine.parquet",
    }
    with pytest.raises(ArtifactError, match=r"interactions\.parquet: listed in the manifest but"):
        open_artifact(log)
    assert open_artifact(places["monitor_drift.report"], "drift_report")
    fetch(ask, home, "r1", "--artifacts", "all")
    assert open_artifact(log, "interactions")
    assert open_artifact(places["build_sequences.sequences"])


def test_what_runs_share_is_fetched_once(
    start: Start, ran: Ran, bucket: Bucket, tmp_path: Path
) -> None:
    ask = start("kfp")
    later = replace(ran, created=ran.created + timedelta(days=1))
    ask.service.ran |= {"r1": ran, "r2": later}
    told = fetch(ask, tmp_path / "home")
    assert [run["id"] for run in told["fetched"]] == ["r1", "r2"]  # oldest first
    downloads = [line for line in bucket.requests if line.startswith("GET /download")]
    assert len(downloads) == len(set(downloads))


@pytest.mark.parametrize("name", ["report/drift.json", "report/manifest.json", "page"])
def test_a_run_is_refused_whole_when_an_artifact_was_altered(
    name: str, start: Start, ran: Ran, bucket: Bucket, tmp_path: Path
) -> None:
    ask = start("kfp")
    ask.service.ran |= {"r1": ran, "r2": replace(ran, created=ran.created - timedelta(days=1))}
    (key,) = [one for one in bucket.objects if one.endswith(f"/{name}")]
    stored = bucket.objects[key]
    other = stored.content.replace(b"drift", b"dri%t", 1).replace(b"<!doctype", b"<!DOCTYPE", 1)
    assert len(other) == len(stored.content)
    bucket.objects[key] = replace(stored, content=other)
    home = tmp_path / "home"
    with pytest.raises(NotFetchedError, match="not fetched, see above: 2026") as told:
        call("fetch", *ask.options, "--home", str(home))
    assert told.value.exit_code == 4
    assert list((home / "runs").glob("*")) == []
    bucket.objects[key] = stored
    assert len(fetch(ask, home)["fetched"]) == 2


def test_the_others_are_fetched_when_one_is_refused(
    start: Start, ran: Ran, bucket: Bucket, tmp_path: Path
) -> None:
    gone = replace(
        ran,
        created=ran.created + timedelta(days=1),
        tasks=tuple(
            replace(task, outputs=dict.fromkeys(task.outputs, "hdfs://shop/x"))
            for task in of_events(small_run(tmp_path / "other", number=1), bucket, "other").tasks
        ),
    )
    ask = start("vertex")
    ask.service.ran |= {"r1": ran, "r2": gone}
    home = tmp_path / "home"
    with pytest.raises(NotFetchedError):
        call("fetch", *ask.options, "--home", str(home))
    assert len(list((home / "runs").glob("2026*"))) == 1
    assert fetch_refused(ask, home) == (
        "hdfs://shop/x: only gs://, s3://, minio:// and mounted folders are read from here; run the "
        "pipeline with --root gs://…"
    )


def fetch_refused(ask: Ask, home: Path) -> str:
    result = CliRunner().invoke(app, ["fetch", *ask.options, "--home", str(home), "--json"])
    (refused,) = json.loads(result.stdout)["refused"]
    return refused["reason"]


@pytest.mark.parametrize("told", [{"digests": ["0a"]}, {"digests": None}])
def test_the_others_are_fetched_when_one_is_told_as_nobody_here_reads_it(
    start: Start, ran: Ran, tmp_path: Path, told: dict[str, Any]
) -> None:
    odd = replace(
        ran,
        created=ran.created - timedelta(days=1),  # the oldest is fetched first
        tasks=tuple(replace(task, metadata={**task.metadata, **told}) for task in ran.tasks),
    )
    ask = start("vertex")
    ask.service.ran |= {"r1": ran, "r2": odd}
    home = tmp_path / "home"
    reason = fetch_refused(ask, home)
    assert "another version of slmrec" in reason
    assert len(list((home / "runs").glob("*"))) == 1


def test_mounted_folders_are_copied(start: Start, ran: Ran, folder: Path, tmp_path: Path) -> None:
    local = {"verdict": "verdict", "log": "log", "page": "page"}
    mounted = replace(
        ran,
        tasks=tuple(
            replace(
                task,
                outputs={
                    port: str(folder / "artifacts" / local.get(port, port)) for port in task.outputs
                },
            )
            for task in ran.tasks
        ),
    )
    ask = start("kfp")
    ask.service.ran["r1"] = mounted
    (run,) = fetch(ask, tmp_path / "home")["fetched"]
    assert run["verdict"] == "drift: drift"
    shutil.rmtree(folder / "artifacts")
    said = fetch_refused(ask, tmp_path / "other")
    assert "manifest.json: No such file or directory; mount here what the steps write to" in said


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_run_tells_which_step_and_why(
    kind: str, start: Start, ran: Ran, bucket: Bucket, tmp_path: Path
) -> None:
    from litestar.testing import TestClient

    ask = start(kind)
    ask.service.ran["r1"] = ran.failing("validate_data", "exit code 3")
    home = tmp_path / "home"
    (run,) = fetch(ask, home)["fetched"]
    assert (run["verdict"], run["state"]) == ("failed", "FAILED")
    assert bucket.requests == []  # nobody looks at what its steps gave
    site = create_app(home, Registry(home / "registry"), Access(actor="ann"), lambda: CREATED)
    with TestClient(site, base_url=HERE, raise_server_exceptions=False) as client:
        page = client.get(f"/runs/{run['run']}").text
        assert client.get("/").status_code == 200
    assert "validate_data" in page
    assert "exit code 3 (http" in page
    assert fetch(ask, home)["there"] == 1


def test_a_failed_run_is_fetched_anew_when_it_was_tried_again(
    start: Start, ran: Ran, tmp_path: Path
) -> None:
    ask = start("kfp")
    ask.service.ran["r1"] = ran.failing("validate_data", "exit code 3")
    fetch(ask, tmp_path / "home")
    ask.service.ran["r1"] = ran
    (run,) = fetch(ask, tmp_path / "home")["fetched"]
    assert run["verdict"] == "drift: drift"
    assert (tmp_path / "home" / "runs" / run["run"] / "summary.json").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_runs_are_listed_and_nothing_is_fetched_when_it_is_a_dry_run(
    kind: str, start: Start, ran: Ran, bucket: Bucket, tmp_path: Path
) -> None:
    ask = start(kind)
    days = {f"r{day}": replace(ran, created=ran.created + timedelta(days=day)) for day in range(4)}
    ask.service.ran |= days
    home = tmp_path / "home"
    said = call("fetch", *ask.options, "--home", str(home), "--last", "3", "--dry-run")
    assert [line.split(" as 202603")[1][:2] for line in said.splitlines()] == ["03", "02", "01"]
    assert (home.exists(), bucket.requests) == (False, [])
    assert len(fetch(ask, home, "--last", "3")["fetched"]) == 3
    said = call("fetch", *ask.options, "--home", str(home), "--last", "3", "--dry-run")
    assert said == "nothing new\n"


@pytest.mark.parametrize("kind", ["kfp", "vertex"])
def test_a_named_run_is_refused_when_it_cannot_be_fetched(
    kind: str, start: Start, ran: Ran, tmp_path: Path
) -> None:
    ask = start(kind)
    ask.service.states["r1"] = "RUNNING"
    at = (*ask.options, "--home", str(tmp_path / "home"))
    assert "is RUNNING; expected one that succeeded or failed" in refusal("fetch", "r1", *at)
    assert "run nobody: not there; expected the id of a run" in refusal("fetch", "nobody", *at)
    assert "run stranger: not one of " in refusal("fetch", "stranger", *at)


def test_a_service_before_3_says_where_its_artifacts_stand_when_asked_elsewhere(
    start: Start, ran: Ran, tmp_path: Path
) -> None:
    ask = start("kfp-before-3")
    ask.service.ran["r1"] = ran
    ask.service.pages = False  # type: ignore[union-attr]
    said = fetch_refused(ask, tmp_path / "home")
    assert "cannot ask for the run's artifacts: " in said
    assert "name as --host the address of its pages, not of its API" in said


def test_a_second_fetch_leaves_the_first_alone(start: Start, ran: Ran, tmp_path: Path) -> None:
    ask = start("kfp")
    ask.service.ran["r1"] = ran
    with (
        FileLock(tmp_path / LOCK),
        pytest.raises(NotFetchedError, match="another fetch is at work there; try again when"),
    ):
        call("fetch", *ask.options, "--home", str(tmp_path))
    assert not (tmp_path / "runs").exists()


def test_the_models_of_a_run_without_training_are_those_that_served_when_it_began(
    start: Start, ran: Ran, tmp_path: Path
) -> None:
    from tests.dashboard.homes import add_version

    registry = Registry(tmp_path / "models")
    for number in (1, 2):
        add_version(registry, tmp_path / f"made-{number}", f"student {number}", number)
    for number, before in ((1, None), (2, 1)):
        registry.promote(number, before, reason="r", actor="a", time="2026-01-01T00:00:00+00:00")
    first, *others = ran.tasks
    began = replace(first, parameters={**first.parameters, "production": "1 0a0a"})
    ask = start("vertex")
    ask.service.ran["r1"] = replace(ran, tasks=(began, *others))
    home = tmp_path / "home"
    (run,) = fetch(ask, home, "--registry", str(tmp_path / "models"))["fetched"]
    summary = json.loads((home / "runs" / run["run"] / "summary.json").read_text())
    assert [model["name"] for model in summary["models"]] == ["student 1"]
    said = call("fetch", *ask.options, "--home", str(tmp_path / "other"), "--registry", "/nowhere")
    assert "models of the version that served are not shown: registry /nowhere" in said


def test_summaries_are_published_once_and_the_newest_never_goes_back(
    start: Start, ran: Ran, bucket: Bucket, tmp_path: Path
) -> None:
    ask = start("kfp")
    ask.service.ran["r2"] = replace(ran, created=ran.created + timedelta(days=1))
    to = ("--publish", "gs://shop/told/")
    (newer,) = fetch(ask, tmp_path / "home", *to)["published"]
    assert json.loads(bucket.text("told/summary.json"))["run_id"] == newer
    ask.service.ran["r1"] = ran  # an older one that ended later
    (older,) = fetch(ask, tmp_path / "home", *to)["published"]
    assert json.loads(bucket.text("told/summary.json"))["run_id"] == newer
    told = json.loads(bucket.text(f"told/{older}.json"))
    assert told["drift"]["verdict"] == "drift"
    assert str(tmp_path) not in bucket.text(f"told/{older}.json")
    assert fetch(ask, tmp_path / "home", *to)["published"] == []
    # Whoever published the newer one was ended before the last thing that it does.
    bucket.objects["told/summary.json"] = bucket.objects[f"told/{older}.json"]
    assert fetch(ask, tmp_path / "home", *to)["published"] == []
    assert json.loads(bucket.text("told/summary.json"))["run_id"] == newer
    assert "expected gs://BUCKET/PREFIX as --publish" in refusal(
        "fetch", *ask.options, "--home", str(tmp_path / "home"), "--publish", "/here"
    )


def test_a_bucket_that_steps_had_as_a_folder_is_read_as_a_bucket(
    start: Start, ran: Ran, tmp_path: Path
) -> None:
    ask = start("vertex")
    mounted = [
        {port: uri.replace("gs://", "/gcs/") for port, uri in task.outputs.items()}
        for task in ran.tasks
    ]
    tasks = (
        replace(task, outputs=outputs) for task, outputs in zip(ran.tasks, mounted, strict=True)
    )
    ask.service.ran["r1"] = replace(ran, tasks=tuple(tasks))
    assert len(fetch(ask, tmp_path / "home")["fetched"]) == 1


def test_nothing_is_written_outside_when_a_manifest_points_there(
    start: Start, ran: Ran, bucket: Bucket, tmp_path: Path
) -> None:
    key = "runs/monitor_drift/report/manifest.json"
    manifest = json.loads(bucket.text(key))
    manifest["files"]["../../../outside.json"] = {"bytes": 2, "sha256": "0a"}
    content = canonical_json(manifest)
    bucket.objects[key] = replace(bucket.objects[key], content=content.encode())
    tasks = tuple(
        replace(task, metadata={**task.metadata, "digests": {"report": digest_text(content)}})
        if task.step == "monitor_drift"
        else task
        for task in ran.tasks
    )
    ask = start("kfp")
    ask.service.ran["r1"] = replace(ran, tasks=tasks)
    assert "'../../../outside.json' points outside the artifact" in fetch_refused(ask, tmp_path)
