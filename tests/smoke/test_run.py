"""The compiled file, executed by Kubeflow's local engine, as a user starts it."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from components.runtime import output_digest
from docs.site.picture import steps
from pipeline.cli import app
from pipeline.paths import PIPELINE_FILE
from slmrec.artifacts import open_artifact
from slmrec.config import PipelineConfig
from slmrec.models.servable import Servable
from slmrec.yaml_text import read_yaml
from tests.pipeline.fetching.ran import comparable, of_events

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "sample:users=300,items=120,interactions=6000,seed=3"
VARIANTS = ["float32", "pruned-int8"]
"""Of the three that are there: what it takes to prune and to quantize."""
INSTANCES = {
    "cache_teacher": ["0/2", "1/2"],
    "prune_student": VARIANTS,
    "quantize_student": VARIANTS,
}
STEPS = [
    step.name + (f"[{instance}]" if instance else "")
    for step in steps(read_yaml(PIPELINE_FILE, "pipeline"))
    for instance in INSTANCES.get(step.name, [""])
]
NEVER_CACHED = {"snapshot_source", "decide_retraining", "promote_model"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def arguments(tiny, home) -> list[str]:
    """Of every run here; its teacher learns for long enough to be interrupted."""
    sets = [variants(), "train_teacher.training.epochs=40", "train_teacher.training.patience=40"]
    return [
        *("run", "--interactions", SOURCE, "--home", str(home), *tiny),
        *(word for setting in sets for word in ("--set", setting)),
    ]


@pytest.fixture(scope="module")
def run(command, arguments):
    def go(*more: str):
        return command(*arguments, "--json", *more)

    return go


@pytest.fixture(scope="module")
def first(run):
    finished = run()
    assert finished.code == 0, finished.err
    return finished.summary


def variants() -> str:
    chosen = [variant for variant in PipelineConfig().variants if variant.name in VARIANTS]
    said = [variant.model_dump(mode="json", exclude_defaults=True) for variant in chosen]
    return f"variants={json.dumps(said)}"


def executed(summary: dict) -> set[str]:
    return {step["name"] for step in summary["steps"] if not step["cached"]}


def test_every_step_runs_when_there_is_no_model_yet(first: dict) -> None:
    assert sorted(step["name"] for step in first["steps"]) == sorted(STEPS)
    assert executed(first) == set(STEPS)
    assert first["decision"]["retrain"] is True
    assert all(step["seconds"] >= 0 and step["peak_rss_mb"] > 0 for step in first["steps"])


def test_summary_is_complete_when_models_were_trained(first: dict) -> None:
    names = [model["name"] for model in first["models"]]
    assert names == ["popularity", "transitions", "sasrec", "teacher", "student", *VARIANTS]
    by_name = dict(zip(names, first["models"], strict=True))
    assert sum(bool(model.get("candidate")) for model in first["models"]) == 1
    for model in first["models"]:
        low, high = model["metrics"]["ndcg@10"]["ci95"]
        assert 0 <= low <= model["metrics"]["ndcg@10"]["value"] <= high <= 1
        assert model["latency_ms"]["batch1_p50"] <= model["latency_ms"]["batch1_p95"]
        assert model["users_per_second"] > 0
    timings = Path(first["places"]["evaluate_models.timings"]) / "timings.json"
    loaded = {name for name, found in json.loads(timings.read_text()).items() if "load_ms" in found}
    assert loaded == set(names) - {"popularity", "transitions"}  # the others have files to load
    share = by_name["student"]["parameters_backbone"] / by_name["teacher"]["parameters_backbone"]
    assert share <= 0.13
    assert by_name["student"]["train_seconds"] > 0
    assert set(first["data"]) >= {"digest", "users", "items", "interactions", "first", "last"}
    assert None not in first["data"].values()
    assert first["gates"]
    assert first["drift"]["verdict"] in ("stable", "watch", "drift", "not enough data")
    assert json.loads((Path(first["places"]["run"]) / "summary.json").read_text()) == first


def test_the_same_run_on_a_cluster_says_the_same_when_it_is_fetched(
    first: dict, home: Path, start, bucket, tmp_path: Path
) -> None:
    local = Path(first["places"]["run"])
    began = datetime.fromisoformat(first["started"])
    ran = replace(of_events(local, bucket), created=began, seconds=first["seconds"])
    ran.parameters["code_digest"] = first["code_digest"]
    for kind in ("kfp-before-3", "vertex"):
        ask = start(kind)
        ask.service.ran["r1"] = ran
        command = ["fetch", *ask.options, "--home", str(tmp_path / kind), "--artifacts", "all"]
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        (folder,) = (tmp_path / kind / "runs").glob("2*")
        fetched = json.loads((folder / "summary.json").read_text())
        assert comparable(fetched) == comparable(first)
        assert fetched["places"].keys() == first["places"].keys() | {"service"}
        for port, place in first["places"].items():
            if "." in port:
                assert output_digest(Path(fetched["places"][port])) == output_digest(Path(place))


def test_promoted_model_answers_from_the_registry(first: dict, home: Path) -> None:
    candidate = next(model for model in first["models"] if model.get("candidate"))
    place = Path(first["places"][f"quantize_student[{candidate['name']}].servable"])
    servable = Servable(open_artifact(place, "servable"))
    assert servable.scores([]).shape[0] == 0
    if first["promoted"]:
        version = home / "registry" / "versions" / f"{first['promoted']:06d}" / "model"
        assert open_artifact(version).digest == open_artifact(place).digest


def test_everybody_gets_a_list_from_the_registered_model(
    first: dict, home: Path, tmp_path: Path
) -> None:
    output = tmp_path / "lists.parquet"
    command = ["recommend", "--model", "1", "--home", str(home), "--output", str(output)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    lists = pl.read_parquet(output)
    assert len(lists) == first["data"]["users"]
    assert set(lists["items"].list.len()) == {10}
    assert set(lists["model_version"]) == {"1"}
    assert all(lists["items"].list.n_unique() == 10)


def test_only_uncached_steps_run_when_nothing_changed(first: dict, run) -> None:
    run()  # where the first run's model serves, it is asked about drift, once
    again = run().summary
    assert executed(again) <= NEVER_CACHED
    ndcg = {m["name"]: m["metrics"]["ndcg@10"] for m in again["models"]}
    assert ndcg == {m["name"]: m["metrics"]["ndcg@10"] for m in first["models"]}


@pytest.fixture(scope="module")
def forced(command, arguments, home, first):
    """A run that a person forces, and its summary."""
    finished = command(*arguments, "--force", COLUMNS="140")
    assert finished.code == 0, finished.err
    newest = max((home / "runs").glob("*/summary.json"))
    return finished, json.loads(newest.read_text())


def test_everything_is_reused_but_trained_when_forced(first: dict, forced) -> None:
    _, again = forced
    assert {step["name"] for step in again["steps"]} == set(STEPS)
    assert executed(again) == NEVER_CACHED
    assert again["promoted"] == first["promoted"]


def test_table_and_places_are_printed_when_a_person_reads(forced) -> None:
    finished, _ = forced
    for word in (
        "popularity",
        "transitions",
        "sasrec",
        "teacher",
        "student",
        "float32",
        "pruned-int8",
    ):
        assert re.search(rf"^{word}\b", finished.out, re.MULTILINE), finished.out
    assert "drift" in finished.out
    assert "registry" in finished.out
    assert "Traceback" not in finished.out + finished.err
    assert "nanobind" not in finished.out + finished.err


def interrupted(arguments: list[str], when: Callable[[], bool]) -> str:
    """What a run printed that was interrupted as a person does it, when the time had come."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    left = subprocess.run(["ps", "-eo", "pgid,args"], capture_output=True, text=True).stdout
    assert not [line for line in left.splitlines() if line.split()[0] == str(process.pid)]
    return out


def told(home: Path, run: int) -> list[dict[str, str]]:
    """Events of the run with that number, as far as it has come."""
    logs = sorted(home.glob("runs/*/events.jsonl"))[run : run + 1]
    lines = [line for log in logs for line in log.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def steps_told(home: Path, run: int, event: str) -> set[str]:
    """Steps of which a run has told that they started, or finished."""
    return {one["step"] for one in told(home, run) if one["event"] == event}


def test_what_is_below_changed_bytes_runs_again_and_goes_on_where_it_was_interrupted(
    first: dict, home: Path, arguments: list[str]
) -> None:
    pretrained = Path(first["places"]["pretrain_items.items_model"])
    digest = open_artifact(pretrained).digest
    weights = pretrained / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    run = len(list((home / "runs").iterdir()))
    kept = "checkpoints/*/train_teacher-*/epoch-*/manifest.json"
    out = interrupted([*arguments, "--force"], lambda: bool(list(home.glob(kept))))
    assert "goes on after the last finished step" in out
    below = NEVER_CACHED - {"promote_model"} | {"pretrain_items", "train_teacher"}
    assert steps_told(home, run, "started") == below
    assert "train_teacher" not in steps_told(home, run, "finished")
    made = set((home / "cache").glob("artifacts/*/*/pretrain-items/items_model"))
    (again,) = made - {pretrained}
    assert open_artifact(again).digest == digest

    interrupted(
        [*arguments, "--force"], lambda: "train_teacher" in steps_told(home, run + 1, "finished")
    )
    assert "pretrain_items" not in steps_told(home, run + 1, "started")
    said = [event.get("text", "") for event in told(home, run + 1)]
    assert [text for text in said if re.match(r"going on after epoch \d+", text)]
    assert not list(home.glob("checkpoints/*/*"))
