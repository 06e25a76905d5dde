from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components.decide_retraining.step import run
from slmrec.artifacts import open_artifact, publish
from slmrec.config import DecideRetraining
from slmrec.registry.store import Registry
from slmrec.registry.versions import DataFacts

CONFIG = DecideRetraining(min_new_share=0.5).to_json()


@pytest.fixture
def sequences(tmp_path):
    """One user with four interactions, at 10, 20, 30 and 40 seconds."""
    arrays = {
        "offsets": np.array([0, 4]),
        "items": np.array([1, 2, 1, 2], dtype=np.int32),
        "timestamps": np.array([10, 20, 30, 40]),
        "train_end": np.array([4]),
        "validation_end": np.array([4]),
    }
    with publish(tmp_path / "sequences", "sequences", properties={"items": 2}) as directory:
        for name, array in arrays.items():
            np.save(directory / f"{name}.npy", array)
        pl.DataFrame({"item_id": ["a", "b"], "count": [2, 2]}).write_parquet(
            directory / "items.parquet"
        )
    return str(tmp_path / "sequences")


@pytest.fixture
def make_registry(tmp_path):
    """A registry whose production version saw some interactions up to a moment."""

    def make(interactions, last, items=("a", "b")):
        registry = Registry(tmp_path / "registry")
        with publish(tmp_path / "model", "servable", properties={"name": "int8"}) as directory:
            pl.DataFrame({"item_id": items}).write_parquet(directory / "items.parquet")
        model = open_artifact(tmp_path / "model")
        facts = DataFacts(sequences_digest="s", interactions=interactions, last=last)
        registry.add(
            model, model, model, facts, code_digest="code", settings_digest="settings", time="t"
        )
        registry.promote(1, None, reason="r", actor="a", time="t")
        return registry.place

    return make


@pytest.fixture
def ask(sequences, tmp_path):
    def ask(registry, *, verdict="stable", force=False, config=CONFIG):
        path = tmp_path / "decision"
        metadata = run(sequences, verdict, registry, "code", "settings", force, config, str(path))
        decision = open_artifact(path, "decision")
        assert decision.digest == metadata["digest"]
        content = decision.json("decision.json")
        assert content["drift_verdict"] == verdict
        assert {key: metadata[key] for key in ("retrain", "reason")} == {
            key: content[key] for key in ("retrain", "reason")
        }
        return metadata

    return ask


def test_training_has_a_reason_when_there_is_no_registry(ask, tmp_path):
    made = ask(str(tmp_path / "none"))
    assert made["retrain"] is True
    assert made["reason"] == "there is no production model yet"


@pytest.mark.parametrize("needed", [1.0, 0.5])
def test_new_interactions_are_counted_when_there_is_production(ask, make_registry, needed):
    # Those at 30 and 40 seconds are newer than 20: two for the two it saw.
    config = DecideRetraining(min_new_share=needed).to_json()
    made = ask(make_registry(interactions=2, last=20), config=config)
    assert made["new_interactions"] == 2
    assert made["retrain"] is True
    assert "2 interactions are new" in made["reason"]


def test_training_has_no_reason_when_too_little_is_new(ask, make_registry):
    registry = make_registry(interactions=3, last=30)
    made = ask(registry)
    assert made["retrain"] is False
    assert made["headline"].startswith("do not train: 1 interactions are new")
    assert ask(registry, force=True)["retrain"] is True


def test_training_has_a_reason_when_the_log_is_about_other_items(ask, make_registry):
    registry = make_registry(interactions=4, last=40, items=("b", "c", "d"))
    assert ask(registry)["retrain"] is False  # item b has two of the four interactions
    (Path(registry) / "channels.json").unlink()
    with publish(Path(registry) / "versions" / "000001" / "model", "servable") as directory:
        pl.DataFrame({"item_id": ["c", "d"]}).write_parquet(directory / "items.parquet")
    Registry(registry).promote(1, None, reason="r", actor="a", time="t")
    made = ask(registry)
    assert made["retrain"] is True
    assert "only 0% of the interactions" in made["reason"]


def test_a_production_that_cannot_be_opened_hinders_no_training(ask, make_registry, capsys):
    registry = make_registry(interactions=4, last=40)
    (Path(registry) / "versions" / "000001" / "model" / "items.parquet").write_bytes(b"x")
    assert ask(registry)["retrain"] is False
    assert "version 1 cannot be asked which items it knows" in capsys.readouterr().err
    assert ask(registry, force=True)["retrain"] is True


def test_what_people_decided_is_heeded(ask, make_registry):
    registry = make_registry(interactions=4, last=40)
    store = Registry(registry)
    assert ask(registry, verdict="drift")["retrain"] is True
    store.snooze("2020-01-01T00:00:00+00:00", reason="over", actor="ann", time="t")
    assert ask(registry, verdict="drift")["retrain"] is True
    store.snooze("2999-01-01T00:00:00+00:00", reason="a sale", actor="ann", time="t")
    assert ask(registry, verdict="drift")["retrain"] is False
    store.ask_retraining(reason="new season", actor="bob", time="t")
    assert ask(registry)["reason"] == "bob asked for it: new season"


def test_the_component_gives_a_boolean_and_the_decision_when_compiled():
    from components.decide_retraining.component import decide_retraining

    outputs = decide_retraining.component_spec.outputs
    assert {name: output.type for name, output in outputs.items()} == {
        "Output": "Boolean",
        "decision": "system.Dataset@0.0.1",
    }
