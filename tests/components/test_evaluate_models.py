import json

import numpy as np
import polars as pl
import pytest
import torch

from components.evaluate_models.step import run
from slmrec.artifacts import open_artifact, publish
from slmrec.columns import ItemIndex
from slmrec.compress.export import export_servable
from slmrec.config import EvaluateModels, Variant
from slmrec.models.checkpoint import load_decoder, write_model
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.machine import usable_threads
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.registry.store import Registry
from slmrec.registry.versions import DataFacts

ITEMS, USERS, LENGTH = 12, 40, 6
CONFIG = EvaluateModels(
    cutoffs=(1, 10), resamples=50, latency_requests=3, batch_users=4, load_processes=1
).to_json()
LOAD = {"load_ms": 12.5, "peak_mb": 100.0, "model_mb": 10.0}


def write_sequences(directory):
    generator = np.random.default_rng(1)
    rows = [generator.permutation(ITEMS)[:LENGTH] + 1 for _ in range(USERS)]
    offsets = np.arange(0, USERS * LENGTH + 1, LENGTH)
    with publish(directory, "sequences", properties={"items": ITEMS}) as staging:
        np.save(staging / "offsets.npy", offsets)
        np.save(staging / "items.npy", np.concatenate(rows).astype(np.int32))
        np.save(staging / "timestamps.npy", np.arange(USERS * LENGTH))
        np.save(staging / "train_end.npy", offsets[1:] - 2)
        np.save(staging / "validation_end.npy", offsets[1:] - 1)
        ids = [f"i{number}" for number in range(1, ITEMS + 1)]
        table = {ItemIndex.INDEX: range(1, ITEMS + 1), ItemIndex.ITEM: ids}
        pl.DataFrame(table).write_parquet(staging / "items.parquet")
    return open_artifact(directory)


def write_torch_model(directory, kind, model, sequences):
    with publish(
        directory, kind, inputs={"sequences": sequences}, properties={"name": kind}
    ) as staging:
        write_model(staging, model)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Untrained models of the smallest size, with the real artifact kinds."""
    root = tmp_path_factory.mktemp("inputs")
    torch.manual_seed(3)
    sequences = write_sequences(root / "sequences")
    sasrec = SASRec(SASRecShape(items=ITEMS, width=4, layers=1, heads=1, max_length=8))
    teacher = Decoder(
        DecoderShape(items=ITEMS, width=4, heads=1, feed_forward=(8, 8), max_length=8)
    )
    student = Decoder(DecoderShape(items=ITEMS, width=4, heads=1, feed_forward=(8,), max_length=8))
    for kind, model in (("sasrec", sasrec), ("teacher", teacher), ("student", student)):
        write_torch_model(root / kind, kind, model, sequences)
    catalogue = pl.DataFrame({ItemIndex.INDEX: range(1, ITEMS + 1)})
    export_servable(
        student.eval(),
        catalogue,
        Variant(name="plain", weights="float32"),
        root / "plain",
        calibration=[],
        sample=[],
        inputs={"student": open_artifact(root / "student")},
    )
    return root


@pytest.fixture
def loads_known(monkeypatch):
    """Processes for load time and memory take seconds: told instead; gives what was asked."""
    asked = {}

    def known(models, histories, config, threads, progress, *, own_histories):
        asked.update(models=dict(models), threads=threads, own=set(own_histories))
        return {name: dict(LOAD) for name in models}

    monkeypatch.setattr("components.evaluate_models.step.measure_loads", known)
    return asked


def arguments(inputs, outputs, registry="", production=""):
    models = [str(inputs / kind) for kind in ("sequences", "sasrec", "teacher", "student")]
    written = [
        str(outputs / name)
        for name in ("evaluation", "timings", "kfp/metrics", "kfp/page", "kfp/card")
    ]
    return (*models, [str(inputs / "plain")], registry, production, CONFIG, *written)


def test_step_writes_every_output_when_all_models_are_there(inputs, tmp_path, loads_known):
    metadata = run(*arguments(inputs, tmp_path))
    evaluation = open_artifact(tmp_path / "evaluation", "evaluation")
    timings = open_artifact(tmp_path / "timings", "timings")
    names = ["popularity", "transitions", "sasrec", "teacher", "student", "plain"]
    results = evaluation.json("metrics.json")
    assert [model["name"] for model in results["models"]] == names
    assert results["users"] == USERS
    assert timings.json("choice.json")["name"] == "plain"
    measured = timings.json("timings.json")
    assert sorted(measured) == sorted(names)
    for name in names:  # what was fitted here has no files to load
        assert set(LOAD) <= set(measured[name]) or name in ("popularity", "transitions")
        assert set(LOAD).isdisjoint(measured[name]) or name not in ("popularity", "transitions")
    assert timings.json("choice.json")["machine"]["threads"] == usable_threads()
    assert timings.inputs["evaluation"] == evaluation.digest

    assert metadata["digest"] == evaluation.digest
    assert metadata["headline"].endswith("over 40 users; candidate plain")
    figures = json.loads((tmp_path / "kfp/metrics").read_text())
    candidate = results["models"][-1]["metrics"]
    assert figures["ndcg@10"] == candidate["ndcg@10"]["value"] == metadata["ndcg@10"]
    page = (tmp_path / "kfp/page").read_bytes()
    assert page == timings.file("report.html").read_bytes()
    card = (tmp_path / "kfp/card").read_text()
    assert card == timings.file("card.md").read_text()
    assert card.startswith("# plain: a recommender of the next item\n")
    assert "| plain (this one) |" in card
    json.dumps(metadata)


def test_exported_model_ranks_like_its_source_when_nothing_was_quantized(
    inputs, tmp_path, loads_known
):
    run(*arguments(inputs, tmp_path))
    ranks = pl.read_parquet(tmp_path / "evaluation" / "ranks.parquet")
    assert (ranks["plain"] == ranks["student"]).mean() > 0.95  # near ties may swap


def test_evaluation_has_the_same_digest_when_the_step_runs_again(inputs, tmp_path, loads_known):
    first = run(*arguments(inputs, tmp_path / "first"))
    second = run(*arguments(inputs, tmp_path / "second"))
    assert first["digest"] == second["digest"]


def test_step_is_refused_when_the_teacher_is_another_kind(inputs, tmp_path, capsys):
    given = list(arguments(inputs, tmp_path))
    given[2] = given[3]
    with pytest.raises(SystemExit) as stop:
        run(*given)
    assert stop.value.code == 4
    assert "holds a 'student', expected a 'teacher'" in capsys.readouterr().err


def test_step_is_refused_when_a_model_knows_other_sequences(inputs, tmp_path, capsys):
    with publish(tmp_path / "other", "sequences", properties={"items": ITEMS}):
        pass
    model = SASRec(SASRecShape(items=ITEMS, width=4, layers=1, heads=1, max_length=8))
    write_torch_model(tmp_path / "sasrec", "sasrec", model, open_artifact(tmp_path / "other"))
    given = list(arguments(inputs, tmp_path))
    given[1] = str(tmp_path / "sasrec")
    with pytest.raises(SystemExit):
        run(*given)
    assert "this 'sasrec' was made from the sequences" in capsys.readouterr().err


def test_what_serves_now_is_judged_on_the_same_users(inputs, tmp_path, loads_known):
    """Production knows the same items by other numbers, so it ranks as the student does."""
    artifact = open_artifact(inputs / "student")
    student = load_decoder(artifact)
    order = np.random.default_rng(0).permutation(ITEMS)  # production's index n + 1 is item order[n]
    with torch.no_grad():
        student.items.weight[1:] = student.items.weight[1:][torch.from_numpy(order)].clone()
    ids = [f"i{number}" for number in range(1, ITEMS + 1)]
    theirs = pl.DataFrame(
        {ItemIndex.INDEX: range(1, ITEMS + 1), ItemIndex.ITEM: [ids[n] for n in order]}
    )
    served, _ = export_servable(
        student,
        theirs,
        Variant(name="old", weights="float32"),
        tmp_path / "old",
        calibration=[],
        sample=[],
        inputs={},
    )
    registry = Registry(tmp_path / "registry")
    registry.add(
        served,
        open_artifact(inputs / "student"),
        open_artifact(inputs / "sasrec"),
        DataFacts("sequences", 1, 1),
        code_digest="",
        settings_digest="",
        time="2026-01-02T03:04:05+00:00",
    )
    metadata = run(*arguments(inputs, tmp_path, registry.place, f"1 {served.digest}"))
    evaluation = open_artifact(tmp_path / "evaluation")
    results = evaluation.json("metrics.json")
    assert results["production"] == "1"
    assert evaluation.inputs["production"] == served.digest
    by_name = {model["name"]: model for model in results["models"]}
    assert by_name["production"]["metrics"] == by_name["student"]["metrics"]
    pairs = [(pair["a"], pair["b"]) for pair in results["comparisons"]]
    assert ("plain", "production") in pairs
    timed = open_artifact(tmp_path / "timings").json("timings.json")["production"]
    assert timed["load_ms"] == LOAD["load_ms"]
    # It is loaded as it serves, and asked in its own numbers.
    assert loads_known["models"]["production"].digest == served.digest
    assert loads_known["own"] == {"production"}
    assert metadata["candidate"] == "plain"


def test_what_serves_is_left_out_and_said_when_it_cannot_be_opened(
    inputs, tmp_path, loads_known, capsys
):
    run(*arguments(inputs, tmp_path, str(tmp_path / "registry"), "7 0123"))
    evaluation = open_artifact(tmp_path / "evaluation")
    assert "production" not in evaluation.inputs
    assert "production" not in {m["name"] for m in evaluation.json("metrics.json")["models"]}
    assert "version 7 serves and cannot be compared with" in capsys.readouterr().err
