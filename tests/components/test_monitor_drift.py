import json

import numpy as np
import polars as pl
import pytest

from components.monitor_drift.step import run
from components.runtime import EVIDENTLY_VARIABLE
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.config import MonitorDrift
from slmrec.drift.thresholds import NAMES
from slmrec.registry.store import Registry
from slmrec.registry.versions import DataFacts
from tests.models.servables import catalogue_of, export_small

CONFIG = MonitorDrift(window_share=0.15, min_users=20, history_windows=1).to_json()


def save_log(path, turned, *, order_only=False):
    """240 users, 3 to 15 interactions; with `turned`, other items from .7 of the time on."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 16, 240)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    times = np.concatenate([np.sort(rng.integers(0, 10**7, length)) for length in lengths])
    items = rng.integers(1, 21, len(times))
    arrays = {
        "offsets": offsets,
        "items": np.where(turned & (times > 7 * 10**6), items + 20, items).astype(np.int32),
        "timestamps": times,
        "train_end": offsets[1:],
        "validation_end": offsets[1:],
    }
    with publish(path, "sequences", properties={"items": 40}) as directory:
        for name, array in arrays.items():
            np.save(directory / f"{name}.npy", array)
        write_json(directory / "card.json", {"order_only": order_only})
        numbers = range(1, 41)
        catalogue = {
            "item_index": numbers,
            "item_id": [f"i{n}" for n in numbers],
            "title": [f"<b>{n}</b>" for n in numbers],
            "category": ["odd" if n % 2 else "even" for n in numbers],
        }
        pl.DataFrame(catalogue).write_parquet(directory / "items.parquet")
        users = pl.DataFrame({"user_id": [f"u{n}" for n in range(240)]})
        users.write_parquet(directory / "users.parquet")
    return str(path)


def serving(registry, version, previous=None, recommendations=""):
    """What `snapshot_source` would say."""
    asked = [number for number in (version, previous) if number is not None]
    named = {
        "version": version,
        "previous": previous,
        "models": [registry.version(number).model_digest for number in asked],
        "recommendations": recommendations,
    }
    return json.dumps(named)


@pytest.mark.parametrize(("turned", "verdict"), [(True, "drift"), (False, "stable")])
def test_the_report_is_whole_when_there_is_enough_data(tmp_path, monkeypatch, turned, verdict):
    monkeypatch.setenv(EVIDENTLY_VARIABLE, str(tmp_path / "evidently"))
    sequences = save_log(tmp_path / "sequences", turned)
    registry = str(tmp_path / "registry")
    metadata = run(sequences, registry, "", CONFIG, str(tmp_path / "report"))
    assert metadata["verdict"] == verdict
    report = open_artifact(tmp_path / "report", "drift_report")
    names = {path.name for path in report.path.iterdir()}
    assert names == {
        "drift.json",
        "drift.svg",
        "evidently.html",
        "evidently.json",
        "manifest.json",
        "report.html",
    }
    found = report.json("drift.json")
    assert found["verdict"] == verdict == report.properties["verdict"]
    assert bool(found["alarms"]) is turned
    if turned:
        by_name = {alarm["name"]: alarm["sentence"] for alarm in found["alarms"]}
        assert by_name["item_popularity"].startswith("people turned to other items")
        assert set(found["alarms"][0]) == {
            *("name", "family", "reference", "current", "effect", "p"),
            *("touched_share", "threshold", "sentence"),
        }
    assert json.loads((report.path / "evidently.json").read_text())["metrics"]
    (project,) = (tmp_path / "evidently").glob("*/metadata.json")
    assert json.loads(project.read_text())["name"] == "slmrec"
    (kept,) = project.parent.glob("snapshots/*.json")
    assert json.loads(kept.read_text())


def register(registry, folder, number, trained_until):
    """A version whose model has random weights and knows the items of the log but the last ten."""
    model = export_small(folder / f"model-{number}", catalogue_of([5] * 30), seed=number)
    with publish(folder / "evaluation", "evaluation") as staging:
        write_json(staging / "metrics.json", {})
    evaluation = open_artifact(folder / "evaluation")
    facts = DataFacts("s", 1000, 2 * trained_until, trained_until=trained_until)
    version = registry.add(
        model, evaluation, evaluation, facts, code_digest="c", settings_digest="s", time="t"
    )
    current = registry.production()
    before = current.number if current else None
    registry.promote(version.number, before, reason="r", actor="a", time="t")


def test_production_is_asked_where_there_is_one(tmp_path):
    sequences = save_log(tmp_path / "sequences", turned=True)
    registry = Registry(tmp_path / "registry")
    for number in (1, 2):
        register(registry, tmp_path, number, trained_until=2 * 10**6)
    run(sequences, registry.place, serving(registry, 2, 1), CONFIG, str(tmp_path / "report"))
    found = open_artifact(tmp_path / "report", "drift_report").json("drift.json")
    assert (found["production"], found["previous"]) == (2, 1)
    statistics = {one["name"]: one for one in found["statistics"]}
    assert set(statistics) == set(NAMES)
    assert {one["family"] for one in found["statistics"]} == {
        *("data", "sequences", "embeddings", "recommendations", "quality"),
    }
    # People turned to items of which production knows half: the others cannot be listed.
    assert statistics["state_separation"]["alarm"]
    assert statistics["dead_items"]["alarm"]
    assert statistics["ndcg"]["current"] is not None
    assert found["moved_items"][0]["title"].startswith("<b>")
    assert {len(one["after"]) for one in found["example_lists"]} == {10}
    assert found["example_lists"][0]["user"].startswith("u")
    groups = {(one["kind"], one["name"]) for one in found["segments"]}
    assert ("target", "new") in groups or ("history", "light") in groups
    page = (tmp_path / "report" / "report.html").read_text()
    assert "before it served version 1" in " ".join(page.split())
    assert "<b>1</b>" not in page


def test_the_version_that_was_named_is_asked_when_another_serves_by_now(tmp_path):
    sequences = save_log(tmp_path / "sequences", turned=True)
    registry = Registry(tmp_path / "registry")
    for number in (1, 2):
        register(registry, tmp_path, number, trained_until=2 * 10**6)
    config = MonitorDrift(min_users=1000).to_json()
    run(sequences, registry.place, serving(registry, 1), config, str(tmp_path / "report"))
    found = open_artifact(tmp_path / "report", "drift_report").json("drift.json")
    assert (found["production"], found["previous"]) == (1, None)


def test_a_production_that_cannot_be_opened_is_said_and_not_compared(tmp_path, capsys):
    sequences = save_log(tmp_path / "sequences", turned=False)
    registry = Registry(tmp_path / "registry")
    register(registry, tmp_path, 1, trained_until=10**6)
    (tmp_path / "registry" / "versions" / "000001" / "model" / "layers.onnx").write_bytes(b"x")
    config = MonitorDrift(min_users=1000).to_json()
    named = serving(registry, 1)
    metadata = run(sequences, registry.place, named, config, str(tmp_path / "report"))
    assert "version 1 cannot be asked what it would list" in capsys.readouterr().err
    assert metadata["reusable"] is False  # it may be mended
    found = open_artifact(tmp_path / "report", "drift_report").json("drift.json")
    assert found["production"] is None


def test_another_model_under_the_number_that_was_named_is_not_asked(tmp_path, capsys):
    sequences = save_log(tmp_path / "sequences", turned=False)
    registry = Registry(tmp_path / "registry")
    register(registry, tmp_path, 1, trained_until=10**6)
    named = json.loads(serving(registry, 1))
    named["models"] = ["0" * 64]
    config = MonitorDrift(min_users=1000).to_json()
    run(sequences, registry.place, json.dumps(named), config, str(tmp_path / "report"))
    assert "another model than when this run began" in capsys.readouterr().err


def test_lists_that_changed_since_the_run_began_are_refused(tmp_path, capsys):
    sequences = save_log(tmp_path / "sequences", turned=False)
    registry = Registry(tmp_path / "registry")
    register(registry, tmp_path, 1, trained_until=10**6)
    (tmp_path / "lists.parquet").write_bytes(b"others")
    config = MonitorDrift(min_users=1000, recommendations=str(tmp_path / "lists.parquet"))
    named = serving(registry, 1, recommendations="0" * 64)
    with pytest.raises(SystemExit):
        run(sequences, registry.place, named, config.to_json(), str(tmp_path / "report"))
    assert "lists.parquet changed since the run began" in capsys.readouterr().err


def test_lists_are_not_looked_for_before_a_model_serves(tmp_path):
    sequences = save_log(tmp_path / "sequences", turned=False)
    config = MonitorDrift(min_users=1000, recommendations=str(tmp_path / "none.parquet"))
    metadata = run(sequences, "", "", config.to_json(), str(tmp_path / "report"))
    assert metadata["verdict"] == "not enough data"
    assert "reusable" not in metadata


def test_the_report_says_so_when_data_do_not_suffice(tmp_path):
    sequences = save_log(tmp_path / "sequences", False)
    config = MonitorDrift(min_users=1000).to_json()
    metadata = run(sequences, "", "", config, str(tmp_path / "report"))
    assert metadata["verdict"] == "not enough data"
    assert metadata["headline"] == "not enough data"
    assert open_artifact(tmp_path / "report").digest == metadata["digest"]


def test_nothing_is_compared_when_the_log_has_no_times(tmp_path):
    sequences = save_log(tmp_path / "sequences", turned=True, order_only=True)
    metadata = run(sequences, "", "", CONFIG, str(tmp_path / "report"))
    assert metadata["verdict"] == "not enough data"
    report = open_artifact(tmp_path / "report", "drift_report").json("drift.json")
    assert "an order and no times" in report["reason"]
    assert report["history"] == []
