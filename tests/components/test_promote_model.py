import json

import numpy as np
import pytest

from components.promote_model.step import run
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.config import PromoteModel
from slmrec.registry.store import Registry
from tests.storage.cloud import serve_bucket

CONFIG = PromoteModel().to_json()
WHEN = "2026-01-02T03:04:05+00:00"


TIMINGS = {name: {"batch1_p50": 0.3, "batch1_p95": 0.5} for name in ("int8", "production")}


class Workshop:
    """Makes a run's artifacts and promotes them."""

    def __init__(self, folder, registry):
        self.folder = folder
        self.registry = Registry(registry)
        self.sequences = folder / "sequences"
        arrays = {
            "offsets": np.array([0, 3]),
            "items": np.array([1, 2, 1], dtype=np.int32),
            "timestamps": np.array([10, 20, 30]),
            "train_end": np.array([3]),
            "validation_end": np.array([3]),
        }
        with publish(self.sequences, "sequences", properties={"items": 2}) as directory:
            for name, array in arrays.items():
                np.save(directory / f"{name}.npy", array)
            card = {"source_digest": "log", "interactions_before": 4}
            write_json(directory / "card.json", card)
            write_json(directory / "source.json", {"interactions/log.csv": [70, "d"]})

    def promote(self, *, config=CONFIG, started=WHEN, **run):
        """Promote the candidate of a run whose models differ by `seed`."""
        return self.promote_again(self.prepare(**run), config=config, started=started)

    def prepare(self, *, seed=1, ndcg=0.05, candidate="int8", names=("pruned", "int8")):
        """Make the models of a run and its evaluation; gives the models' places."""
        models = []
        for name in names:
            path = self.folder / f"{name}-{seed}"
            with publish(path, "servable", properties={"name": name}) as directory:
                write_json(directory / "weights.json", seed)
            models.append(str(path))
        self._evaluation(ndcg, candidate)
        return models

    def promote_again(self, models, *, config=CONFIG, started=WHEN):
        """Promote one of some models by the evaluation that is there."""
        metadata = run(
            str(self.folder / "evaluation"),
            str(self.folder / "timings"),
            models,
            str(self.sequences),
            self.registry.place,
            "code",
            "settings",
            started,
            config,
            str(self.folder / "promotion"),
        )
        promotion = open_artifact(self.folder / "promotion", "promotion")
        assert promotion.digest == metadata["digest"]
        json.dumps(metadata, allow_nan=False)
        return metadata, promotion.json("promotion.json")

    def _evaluation(self, ndcg, candidate):
        def entry(name, value, backbone):
            scored = {"value": value, "ci95": [value - 0.002, value + 0.002]}
            return {
                "name": name,
                "parameters_backbone": backbone,
                "bytes": 1000,
                "metrics": {"ndcg@10": scored},
                "overlap@10": 0.97,
                "lists": {"coverage": 0.2},
            }

        production = self.registry.production()
        metrics = {
            "users": 5000,
            "items": 400,
            "models": [
                entry("teacher", 0.05, 800),
                entry("student", 0.05, 100),
                entry("int8", ndcg, 100),
            ],
            "segments": [
                {
                    "kind": kind,
                    "name": name,
                    "users": 5000,
                    "enough_users": True,
                    "comparisons": [
                        {"a": "int8", "b": other, "difference": 0.0, "p_holm": 1.0}
                        for other in ("student", "production")
                    ],
                }
                for kind, name in (("history", "light"), ("target", "head"))
            ],
            "comparisons": [
                {"a": "int8", "b": other, "metric": "ndcg@10", "ci95": [0.01, 0.02]}
                for other in ("popularity", "transitions", "production")
            ],
        }
        inputs = {"sequences": open_artifact(self.sequences)}
        if production is not None:
            inputs["production"] = self.registry.artifact(production.number, "model")
        with publish(self.folder / "evaluation", "evaluation", inputs=inputs) as directory:
            write_json(directory / "metrics.json", metrics)
        inputs = {"evaluation": open_artifact(self.folder / "evaluation")}
        with publish(self.folder / "timings", "timings", inputs=inputs) as directory:
            write_json(directory / "timings.json", TIMINGS)
            write_json(directory / "choice.json", {"name": candidate, "reason": "the only one"})


@pytest.fixture(params=["folder", "bucket"])
def workshop(request, tmp_path, monkeypatch):
    if request.param == "folder":
        yield Workshop(tmp_path, tmp_path / "registry")
        return
    with serve_bucket("models") as (_, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)  # the client's own way to say where
        yield Workshop(tmp_path, "gs://models/registry")


def test_the_candidate_is_production_when_every_gate_passes(workshop):
    metadata, promotion = workshop.promote()
    assert promotion["promoted"] == 1
    assert promotion["previous"] is None
    assert all(gate["passed"] for gate in promotion["gates"])
    production = workshop.registry.production()
    assert production.name == "int8"
    assert production.model_digest == open_artifact(workshop.folder / "int8-1").digest
    assert (production.data.interactions, production.data.last) == (3, 30)
    assert production.data.sequences_digest == open_artifact(workshop.sequences).digest
    assert (production.data.source_digest, production.data.log_interactions) == ("log", 4)
    assert workshop.registry.source(1) == {"interactions/log.csv": (70, "d")}
    assert workshop.registry.candidate() == production
    proposal, decision = workshop.registry.decisions()
    assert (proposal.action, proposal.version) == ("propose", 1)
    assert (decision.action, decision.actor) == ("promote", "pipeline")
    assert decision.time > WHEN  # when it fell, not when the run started
    assert decision.evidence["model"] == production.model_digest
    assert production.added == WHEN
    assert metadata["headline"] == "version 1 (int8): passed all 15 gates"


def test_a_request_is_left_to_the_next_run_when_it_came_after_this_one_began(workshop):
    for minute, answered in (("03:04:06", False), ("03:04:05", True)):
        asked = f"2026-01-02T{minute}+00:00"
        workshop.registry.ask_retraining(reason="season", actor="ann", time=asked)
        workshop.promote(seed=1 + answered)
        assert (workshop.registry.channels().request is None) is answered
        if not answered:  # the next run began after it
            workshop.promote(seed=3, started="2026-01-02T03:05:00+00:00")
            assert workshop.registry.channels().request is None


def test_nothing_changes_when_the_candidate_is_production_already(workshop):
    workshop.promote()
    before = workshop.registry.versions(), workshop.registry.decisions()
    _, promotion = workshop.promote()
    assert (workshop.registry.versions(), workshop.registry.decisions()) == before
    assert (promotion["promoted"], promotion["previous"]) == (1, 1)
    assert promotion["reason"] == "already production"


def test_the_refusal_is_recorded_when_a_gate_fails(workshop):
    workshop.promote()
    # 4 % below the student; the interval ends at .05, so it is not below production.
    for _ in range(2):  # a rerun adds nothing
        metadata, promotion = workshop.promote(seed=2, ndcg=0.048)
    assert promotion["promoted"] is None
    assert [gate["name"] for gate in promotion["gates"] if not gate["passed"]] == [
        "close_to_student"
    ]
    assert metadata["promoted"] == 0
    assert workshop.registry.production().number == 1
    assert [version.number for version in workshop.registry.versions()] == [1, 2]
    *_, proposal, refusal = workshop.registry.decisions()
    assert (proposal.action, proposal.version) == ("propose", 2)
    assert workshop.registry.candidate().number == 2
    assert (refusal.action, refusal.version, refusal.previous) == ("refuse", 2, 1)
    assert "close_to_student found 4 %, required at most 2 %" in refusal.reason


def test_a_better_candidate_follows_what_serves(workshop):
    workshop.promote()
    _, promotion = workshop.promote(seed=2, ndcg=0.051)
    assert (promotion["promoted"], promotion["previous"]) == (2, 1)
    gate = next(g for g in promotion["gates"] if g["name"] == "not_below_production")
    assert "to version 1 (" in gate["required"]


def test_the_step_fails_when_the_candidate_is_not_among_the_models(workshop, capsys):
    with pytest.raises(SystemExit) as caught:
        workshop.promote(candidate="tiny")
    assert caught.value.code == 4
    assert "the candidate is 'tiny', expected one of ['pruned', 'int8']" in capsys.readouterr().err
    assert workshop.registry.versions() == []


def test_the_step_fails_when_the_timings_are_of_another_evaluation(workshop, capsys):
    workshop.promote()
    with publish(workshop.folder / "timings", "timings") as directory:
        write_json(directory / "timings.json", {"int8": {"batch1_p95": 0.5}})
        write_json(directory / "choice.json", {"name": "int8", "reason": "the only one"})
    with pytest.raises(SystemExit):
        run(
            *(str(workshop.folder / name) for name in ("evaluation", "timings")),
            [],
            str(workshop.sequences),
            workshop.registry.place,
            "code",
            "settings",
            WHEN,
            CONFIG,
            str(workshop.folder / "promotion"),
        )
    assert "timings of the evaluation" in capsys.readouterr().err


def test_what_was_rolled_back_is_not_promoted_again_by_a_run(workshop):
    workshop.promote()
    workshop.promote(seed=2, ndcg=0.051)
    workshop.registry.rollback(reason="complaints", actor="ann", time=WHEN)
    _, promotion = workshop.promote(seed=2, ndcg=0.051)
    assert promotion["promoted"] is None
    assert "was rolled back or rejected as version 2" in promotion["reason"]
    assert "registry promote" in promotion["reason"]
    assert workshop.registry.production().number == 1
    number = promotion["version"]
    workshop.registry.promote(number, 1, reason="it was right", actor="ann", time=WHEN)
    assert workshop.registry.production().number == number


def test_a_candidate_waits_for_a_person_when_approval_is_manual(workshop):
    config = PromoteModel(approval="manual").to_json()
    _, promotion = workshop.promote(config=config)
    assert all(gate["passed"] for gate in promotion["gates"])
    assert promotion["promoted"] is None
    assert promotion["reason"].endswith("waits for a person: registry promote 1 --reason …")
    assert workshop.registry.production() is None
    assert workshop.registry.candidate().number == 1
