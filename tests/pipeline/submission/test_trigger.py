"""`trigger` on Kubeflow Pipelines: which reasons start a run, and that one reason starts one."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.submission.transport import SubmissionError, UnansweredError
from slmrec.errors import ConfigError, SourceMissingError
from slmrec.registry.store import Registry
from slmrec.storage.documents import Folder
from tests.pipeline.submission.calls import IMAGE, call, refusal
from tests.pipeline.submission.kubeflow import API, Kubeflow
from tests.pipeline.submission.triggered import (
    NOW,
    TRIGGERED,
    everything,
    holding,
    serve_version,
    told,
)
from tests.storage.cloud import client_of, serve_bucket

ROOT = Path(__file__).resolve().parents[3]
STARTS = f"POST {API}runs"


class Shop:
    """A log, a registry whose production was made from it, and how to trigger with both."""

    def __init__(self, folder: Path, service: Kubeflow) -> None:
        self.folder, self.service = folder, service
        self.log = folder / "log"
        self.log.mkdir()
        (self.log / "day1.csv").write_text("x" * 1000)
        (folder / "models").mkdir()
        self.registry = Registry(folder / "models")
        self.documents = Folder(folder / "models")
        serve_version(self.registry, folder, str(self.log))

    @property
    def at(self) -> tuple[str, ...]:
        place = ("--interactions", str(self.log), "--registry", str(self.folder / "models"))
        return ("--target", "kfp", "--host", self.service.url, *place)

    def grow(self, size: int, day: int = 2) -> None:
        (self.log / f"day{day}.csv").write_text("y" * size)

    def summary(self, **other: object) -> str:
        found = {"run_id": "r7", "started": NOW, "retrained": False, "drift": {"verdict": "drift"}}
        (self.folder / "summary.json").write_text(json.dumps({**found, **other}))
        return str(self.folder / "summary.json")


@pytest.fixture
def shop(tmp_path: Path, kubeflow: Kubeflow) -> Shop:
    return Shop(tmp_path, kubeflow)


def test_nothing_is_asked_of_the_service_when_there_is_no_reason(shop: Shop) -> None:
    before = everything(shop.documents)
    said = call("trigger", *shop.at, "--image", IMAGE)
    lines = said.splitlines()
    assert [line.split()[0] for line in lines[1:8]] == [
        *("forced", "no", "request", "drift", "data", "code", "settings"),
    ]
    assert re.search(r"data +no +the source holds what it held when version 1 was trained", said)
    assert re.search(r"drift +unknown +no --summary of a run says", said)
    assert lines[-1] == "no run is started: there is no reason for one"
    assert told(*shop.at)["submitted"] is False
    assert shop.service.asked == []
    assert everything(shop.documents) == before


def test_a_run_is_looked_for_and_started_when_a_reason_holds(shop: Shop) -> None:
    shop.grow(100)
    said = call("trigger", *shop.at, "--image", IMAGE)
    assert shop.service.lines("POST") == [
        f"POST {API}pipelines",
        f"POST {API}pipelines/upload_version",
        f"POST {API}experiments",
        STARTS,
    ]
    assert shop.service.lines()[0] == f"GET {API}runs"
    (run,) = shop.service.held["runs"].values()
    assert re.fullmatch(TRIGGERED, run["display_name"])
    parameters = run["runtime_config"]["parameters"]
    assert (parameters["force"], parameters["interactions"]) == (False, str(shop.log))
    assert datetime.fromisoformat(parameters["started"]).tzinfo is not None
    assert re.search(r"data +yes +10\.0% of the source changed since version 1 was trained", said)
    assert said.splitlines()[-3:] == [
        f"started run {run['display_name']}: data",
        "runs-1",
        f"{shop.service.url}/#/runs/details/runs-1",
    ]


def grow(shop: Shop) -> tuple[str, ...]:
    shop.grow(50)
    return ()


def ask(shop: Shop) -> tuple[str, ...]:
    shop.registry.ask_retraining(reason="season", actor="ann", time=NOW)
    return ()


def nothing_serves(shop: Shop) -> tuple[str, ...]:
    (shop.folder / "models" / "channels.json").unlink()
    return ()


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (grow, "data"),
        (ask, "request"),
        (lambda shop: ("--summary", shop.summary()), "drift"),
        (lambda shop: ("--set", "cache_teacher.top_k=7"), "settings"),
        (lambda shop: ("--force", "--reason", "release 2"), "forced"),
        (nothing_serves, "no production"),
    ],
)
def test_each_reason_starts_one_run_however_often_it_is_met(
    shop: Shop, happen: Callable[[Shop], tuple[str, ...]], reason: str
) -> None:
    more = happen(shop)
    first = told(*shop.at, *more)
    assert (first["submitted"], holding(first)) == (True, [reason])
    second = told(*shop.at, *more)
    assert (second["submitted"], second["run"]) == (False, None)
    started = {one["name"]: one["started"] for one in second["reasons"] if one["started"]}
    if reason == "data":  # the run saw the same: the reason itself is gone
        assert holding(second) == []
    else:
        assert started[reason]["run"] == first["run"]
        assert started[reason]["link"] == f"{shop.service.url}/#/runs/details/runs-1"
        assert second["conclusion"] == f"no run is started: {reason} already had one"
        said = " ".join(call("trigger", *shop.at, *more, "--image", IMAGE).split())
        assert f"; for it run {first['run']} (2" in said
    assert [run["display_name"] for run in shop.service.held["runs"].values()] == [first["run"]]


def test_code_that_production_was_not_trained_with_is_a_reason(shop: Shop) -> None:
    serve_version(shop.registry, shop.folder, str(shop.log), number=2, code_digest="old")
    assert holding(told(*shop.at)) == ["code"]


def test_another_reason_starts_another_run(shop: Shop) -> None:
    names = [
        told(*shop.at, "--force", "--reason", text)["run"]
        for text in ("one", "two", "one", " one ")
    ]
    assert len({*names[:2]}) == 2
    assert names[2:] == [None, None]
    shop.grow(50)
    both = told(*shop.at, "--force", "--reason", "one")  # on other data it is another one, too
    assert holding(both) == ["forced", "data"]
    ask(shop)
    assert holding(told(*shop.at)) == ["request"]
    forced = [
        run["runtime_config"]["parameters"]["force"] for run in shop.service.held["runs"].values()
    ]
    assert forced == [True, True, True, False]


def test_a_log_that_goes_on_growing_is_compared_with_the_run_that_was_started(shop: Shop) -> None:
    shop.grow(100)  # 10 % more
    assert told(*shop.at)["submitted"] is True
    shop.grow(50, day=3)  # 50 of 1,100 bytes
    said = told(*shop.at)
    assert (said["submitted"], holding(said)) == (False, [])
    (data,) = (one["why"] for one in said["reasons"] if one["name"] == "data")
    assert re.fullmatch(
        rf"4\.5% of the source changed since run {TRIGGERED} was started, needed are 5\.0%", data
    )
    assert holding(told(*shop.at, "--min-change", "0.04")) == ["data"]
    assert len(shop.service.held["runs"]) == 2


def test_a_snooze_keeps_data_and_drift_from_starting_a_run(shop: Shop) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    shop.registry.snooze(until, reason="a sale", actor="ann", time=NOW)
    shop.grow(500)
    said = told(*shop.at, "--summary", shop.summary())
    assert (said["submitted"], holding(said)) == (False, [])
    ask(shop)
    assert holding(told(*shop.at)) == ["request"]


def test_data_are_unknown_when_they_lie_in_a_volume_of_the_cluster(shop: Shop) -> None:
    said = told(*shop.at, "--interactions", "/volume/log/")
    (data,) = (one for one in said["reasons"] if one["name"] == "data")
    assert data["holds"] is None
    assert said["submitted"] is False


def test_nothing_is_sent_or_entered_when_it_is_a_dry_run(shop: Shop) -> None:
    before = everything(shop.documents)
    said = json.loads(call("trigger", *shop.at, "--image", IMAGE, "--dry-run"))
    assert (said["requests"], said["submitted"], said["run"]) == ([], False, None)
    shop.grow(100)
    said = json.loads(call("trigger", *shop.at, "--image", IMAGE, "--dry-run"))
    assert shop.service.asked == []
    assert everything(shop.documents) == before
    assert said["conclusion"] == f"would start run {said['run']}: data"
    assert told(*shop.at)["run"] == said["run"]
    sent = [one.path for one in shop.service.asked if one.method == "POST"]
    posts = [one["url"].partition("?")[0] for one in said["requests"] if one["method"] == "POST"]
    assert posts == [shop.service.url + path for path in sent]


def test_a_run_is_found_when_the_registry_has_lost_what_was_started(shop: Shop) -> None:
    shop.grow(100)
    first = told(*shop.at)
    (shop.folder / "models" / "triggers.json").unlink()
    second = told(*shop.at)
    assert (second["submitted"], second["run"]) == (False, first["run"])
    assert second["conclusion"] == f"run {first['run']} was started already: data"
    assert second["made"]["run"] == "runs-1"
    assert shop.service.lines("POST").count(STARTS) == 1
    assert told(*shop.at)["made"] is None  # it is entered again


@pytest.mark.parametrize(
    ("line", "status"),
    [("POST .*runs$", 403), ("GET .*runs$", 500), ("POST .*upload_version", 404)],
)
def test_a_run_that_cannot_be_there_is_started_by_the_next_call(
    shop: Shop, line: str, status: int
) -> None:
    shop.grow(100)
    shop.service.failures[line] = (status, {"message": "no"})
    with pytest.raises((ConfigError, SubmissionError), match=f"{status}: no"):
        told(*shop.at)
    shop.service.failures.clear()
    assert told(*shop.at)["submitted"] is True
    assert len(shop.service.held["runs"]) == 1


@pytest.mark.parametrize("done", [True, False])
def test_a_run_that_may_be_there_is_looked_for_before_it_is_started_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    ask(shop)
    shop.service.failures["POST .*runs$"] = (504, {"message": "gateway"})
    with pytest.raises(UnansweredError, match="'trigger' looks for run slmrec-trigger-") as raised:
        told(*shop.at)
    assert raised.value.exit_code == 4
    shop.service.failures.clear()
    (entered,) = json.loads((shop.folder / "models" / "triggers.json").read_text())["runs"]
    if done:  # behind the gateway
        shop.service.held["runs"]["late"] = {"run_id": "late", "display_name": entered["name"]}
    waiting = told(*shop.at)
    (answer,) = (one["started"] for one in waiting["reasons"] if one["started"])
    assert (waiting["submitted"], answer["run"], answer["id"]) == (False, entered["name"], "")
    # Another reason need not wait.
    assert told(*shop.at, "--force", "--reason", "x")["submitted"] is True
    monkeypatch.setattr("slmrec.triggers.ledger.CLAIM_TIME", timedelta(0))
    assert told(*shop.at)["submitted"] is not done
    names = [run["display_name"] for run in shop.service.held["runs"].values()]
    assert (len(names), names.count(entered["name"])) == (2, 1)
    runs = json.loads((shop.folder / "models" / "triggers.json").read_text())["runs"]
    assert all(run["id"] for run in runs)


def test_a_run_that_somebody_is_starting_is_left_to_them(shop: Shop) -> None:
    ask(shop)
    entered: list[str] = []

    def meanwhile(asked, answer=shop.service.answer):  # type: ignore[no-untyped-def]
        if asked.line == STARTS:
            entered.append(call("trigger", *shop.at, "--image", IMAGE))
        return answer(asked)

    shop.service.answer = meanwhile  # type: ignore[method-assign]
    assert told(*shop.at)["submitted"] is True
    assert "which is being started" in entered[0]
    assert "no run is started: request already had one" in entered[0]
    assert len(shop.service.held["runs"]) == 1


@pytest.mark.parametrize("kept", ["folder", "bucket"])
def test_one_of_several_starts_the_run_when_they_come_at_once(
    tmp_path: Path, kubeflow: Kubeflow, kept: str
) -> None:
    with serve_bucket("shop") as (_, address):
        (tmp_path / "models").mkdir()
        registry = str(tmp_path / "models") if kept == "folder" else "gs://shop/models"
        at = ("--target", "kfp", "--host", kubeflow.url, "--registry", registry, "--json")
        racers = [
            subprocess.Popen(
                [sys.executable, "-m", "pipeline", "trigger", *at, "--image", IMAGE],
                cwd=ROOT,
                env={**os.environ, "STORAGE_EMULATOR_HOST": address},
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = [json.loads(racer.communicate(timeout=300)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sorted(one["submitted"] for one in said) == [False, True]
    assert kubeflow.lines("POST").count(STARTS) == 1


def test_objects_are_listed_and_not_read_when_the_log_is_in_a_bucket(
    tmp_path: Path, kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_bucket("shop") as (bucket, address), client_of(address) as client:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        blobs = client.bucket("shop")
        blobs.blob("log/day1.csv").upload_from_string("x" * 1000, timeout=5)
        registry = Registry("gs://shop/models")
        serve_version(registry, tmp_path, "gs://shop/log/")
        at = ("--target", "kfp", "--host", kubeflow.url)
        at = (*at, "--registry", "gs://shop/models", "--interactions", "gs://shop/log/")
        assert holding(told(*at)) == []
        blobs.blob("log/day1.csv").upload_from_string("x" * 1000, timeout=5)  # again, the same
        assert holding(told(*at)) == []
        blobs.blob("log/day2.csv").upload_from_string("y" * 50, timeout=5)
        bucket.requests.clear()
        assert told(*at)["submitted"] is True
        assert not [line for line in bucket.requests if "log%2F" in line or "log/" in line]
        assert told(*at)["submitted"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--registry", "/nowhere/models"),
            "--registry /nowhere/models: no such folder on this mach",
        ),
        (("--registry", ""), "--registry: missing"),
        (("--force",), "--reason: missing; say why with --force"),
        (("--reason", "x"), "--reason: only with --force"),
        (("--image", "a b"), "--image 'a b': expected"),
    ],
)
def test_an_option_is_refused_in_a_sentence_when_it_is_wrong(
    shop: Shop, options: tuple[str, ...], message: str
) -> None:
    shop.grow(500)
    said = refusal("trigger", *shop.at, "--image", IMAGE, *options)
    assert message in said
    assert "\n" not in said
    assert shop.service.asked == []


def test_a_summary_is_named_when_it_is_none(shop: Shop) -> None:
    with pytest.raises(SourceMissingError, match=r"none\.json: no such file"):
        told(*shop.at, "--summary", str(shop.folder / "none.json"))
    for content in ("{", "[]", '{"run_id": "r"}', '{"drift": "drift"}'):
        (shop.folder / "bad.json").write_text(content)
        summary = ("--image", IMAGE, "--summary", str(shop.folder / "bad.json"))
        said = refusal("trigger", *shop.at, *summary)
        assert said.startswith(f"--summary {shop.folder}/bad.json: not the summary.json of a run")


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/download/.*channels", 403, r"models/channels\.json: could not be read \("),
        ("POST", "/upload", 403, r"models/triggers\.json: could not be written \("),
    ],
)
def test_the_registry_is_named_when_there_is_no_permission(
    kubeflow: Kubeflow,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    status: int,
    message: str,
) -> None:
    with serve_bucket("shop") as (bucket, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        bucket.fail(method, path, status)
        with pytest.raises(SourceMissingError, match=message) as raised:
            told("--target", "kfp", "--host", kubeflow.url, "--registry", "gs://shop/models")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2
    assert kubeflow.asked == []


def test_the_registry_is_named_when_its_bucket_is_not_there(
    kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_bucket("shop") as (_, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        with pytest.raises(
            SourceMissingError, match=r"gs://other/models/channels\.json: could not"
        ):
            told("--target", "kfp", "--host", kubeflow.url, "--registry", "gs://other/models")
    assert kubeflow.asked == []
