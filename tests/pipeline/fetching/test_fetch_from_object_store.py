"""`fetch` of runs whose artifacts lie in the store that Kubeflow Pipelines brings."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.summary import summarise
from slmrec.artifacts import open_artifact
from slmrec.registry.store import Registry
from tests.pipeline.fetching.conftest import Ask
from tests.pipeline.fetching.ran import BUCKET, Ran, comparable, local_record
from tests.pipeline.submission.calls import call, refusal
from tests.storage.cloud import Bucket
from tests.storage.s3 import Store, serve_store

Start = Callable[[str], Ask]
ROOT = "mlpipeline/v2/artifacts"


@pytest.fixture
def store(ran: Ran, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The cluster's store, with what the run's steps gave, and credentials for it."""
    with serve_store() as served:
        for name, stored in bucket.objects.items():
            served.objects[f"{ROOT}/{name}"] = stored.content
        for name, text in served.environment.items():
            monkeypatch.setenv(name, text)
        yield served


def moved(ran: Ran, scheme: str = "minio", query: str = "") -> Ran:
    """The run, with its artifacts in the cluster's store."""
    tasks = [
        replace(
            task,
            outputs={
                port: uri.replace(f"gs://{BUCKET}", f"{scheme}://{ROOT}") + query
                for port, uri in task.outputs.items()
            },
        )
        for task in ran.tasks
    ]
    return replace(ran, tasks=tuple(tasks))


def asked(ask: Ask, home: Path, *more: str) -> list[str]:
    return ["fetch", *ask.options, "--home", str(home), "--json", *more]


def reason(arguments: list[str]) -> str:
    """Why the one run was refused."""
    (refused,) = json.loads(CliRunner().invoke(app, arguments).stdout)["refused"]
    return refused["reason"]


def summary_of(told: str, home: Path) -> dict[str, Any]:
    (run,) = json.loads(told)["fetched"]
    return json.loads((home / "runs" / run["run"] / "summary.json").read_text())


@pytest.mark.parametrize(
    ("kind", "scheme", "query"),
    [
        ("kfp", "minio", ""),
        ("kfp-before-3", "s3", "?region=minio&endpoint=minio-service.kubeflow:9000"),
    ],
)
def test_a_run_in_the_clusters_store_says_what_the_same_run_here_says(
    kind: str,
    scheme: str,
    query: str,
    start: Start,
    ran: Ran,
    store: Store,
    bucket: Bucket,
    folder: Path,
    tmp_path: Path,
) -> None:
    ask = start(kind)
    ask.service.ran["r1"] = moved(ran, scheme, query)
    home = tmp_path / "home"
    told = call(*asked(ask, home, "--object-store", f"{store.url}/"))
    summary = summary_of(told, home)
    here = summarise(local_record(ran, folder, summary["run_id"]), Registry(tmp_path / "registry"))
    assert comparable(summary) == comparable(here)
    assert {line.split("/")[1] for line in store.requests} == {"mlpipeline"}
    assert bucket.requests == []


def test_the_usual_variable_names_the_store_and_all_of_an_artifact_arrives(
    start: Start, ran: Ran, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
    ask = start("kfp")
    ask.service.ran["r1"] = moved(ran)
    home = tmp_path / "home"
    places = summary_of(call(*asked(ask, home, "--artifacts", "all")), home)["places"]
    log = open_artifact(places["ingest_interactions.log"], "interactions").path
    name = f"{ROOT}/runs/ingest_interactions/log/interactions.parquet"
    assert (log / "interactions.parquet").read_bytes() == store.objects[name]


@pytest.mark.parametrize("name", ["report/drift.json", "report/manifest.json", "page"])
def test_a_run_is_refused_when_an_artifact_in_the_store_was_altered(
    name: str, start: Start, ran: Ran, store: Store, tmp_path: Path
) -> None:
    (key,) = [one for one in store.objects if one.endswith(f"/{name}")]
    whole = store.objects[key]
    store.objects[key] = whole.replace(b"drift", b"dri%t").replace(b"<!doc", b"<!DOC")
    assert store.objects[key] != whole
    ask = start("kfp")
    ask.service.ran["r1"] = moved(ran)
    home = tmp_path / "home"
    said = reason(asked(ask, home, "--object-store", store.url))
    assert said.startswith(f"minio://{key}: not the bytes that the step left there")
    assert list((home / "runs").glob("*")) == []


def test_the_store_is_asked_for_when_nobody_named_one(
    start: Start, ran: Ran, store: Store, tmp_path: Path
) -> None:
    ask = start("kfp")
    ask.service.ran["r1"] = moved(ran)
    assert "name its address with --object-store" in reason(asked(ask, tmp_path / "home"))
    assert store.requests == []


def test_credentials_are_not_sent_where_an_artifacts_address_leads(
    start: Start, ran: Ran, store: Store, tmp_path: Path
) -> None:
    with serve_store() as stranger:
        ask = start("kfp")
        ask.service.ran["r1"] = moved(ran, "s3", f"?endpoint={stranger.url}&disableSSL=true")
        assert f"it says '{stranger.url}'; name its" in reason(asked(ask, tmp_path / "home"))
        call(*asked(ask, tmp_path / "home", "--object-store", store.url))
        assert stranger.requests == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("minio-service:9000", "--object-store minio-service:9000: expected an address such as"),
        ("http://h:9000/bucket", "http://h:9000/bucket: expected the address of an object store"),
        ("http://key:secret@h:9000", "--object-store: an address with credentials in it"),
    ],
)
def test_the_option_is_refused_when_it_names_no_store(
    address: str, said: str, start: Start, tmp_path: Path
) -> None:
    ask = start("kfp")
    assert said in refusal(*asked(ask, tmp_path / "home", "--object-store", address))
    assert ask.service.asked == []
