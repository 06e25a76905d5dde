"""Each study from its job to its three files."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from slmrec.artifacts import MANIFEST
from slmrec.config_file import change_config
from slmrec.studies import compression
from slmrec.studies.__main__ import run
from slmrec.studies.combinations import COMBINATIONS
from slmrec.studies.variants import VARIANTS

FILES = {"README.md", "results.json", "figure.svg"}
FEW = {"float32", "product", "half-int8-recovered", "half-int4"}
"""Compressed students of which each is made another way; all of them take a minute."""


@pytest.fixture(params=["depth", "ablation", "certificate", "distillation", "compression"])
def job(request, make_job, monkeypatch):
    few = tuple(one for one in COMBINATIONS if one[0].name in FEW)
    monkeypatch.setattr(compression, "COMBINATIONS", few)
    return make_job(request.param, variants=tuple(VARIANTS))


TRAININGS = {
    # two depths, two seeds
    "depth": {"train_sasrec": 1, "train_teacher": 4},
    # the teacher and ce-fresh; every other variant
    "ablation": {
        "train_sasrec": 1,
        "train_teacher": 1 + 2,
        "make_student": 2 * (len(VARIANTS) - 1),
    },
    "certificate": {"train_sasrec": 1, "train_teacher": 1, "make_student": 2},
    # SASRec, teacher and student of each seed, and the direct model with either dropout
    "distillation": {"train_sasrec": 2, "train_teacher": 2 + 2 * 2, "make_student": 2},
    "compression": {"train_sasrec": 1, "train_teacher": 1, "make_student": 1},
}


def look_at_depth(job, results, page) -> None:
    """All that a page has to tell; each depth trained, and the deepest one cut."""
    assert results["data"]["users"] == 60
    assert results["data"]["items"] == 12
    assert results["seeds"] == [17, 18]
    for words in (
        "circle.csv",
        results["data"]["digest"][:12],
        "60 users, 12 items, 540 interactions",
        "leave_one_out, 60 test users",
        "0123456789ab",
        "| seeds | 17, 18 |",
        "](figure.svg)",
        job.command,
        *results["findings"],
    ):
        assert words in page
    assert [row["layers"] for row in results["trained"]] == [1, 2]
    assert [row["layers"] for row in results["cut"]] == [1]
    assert len(results["block_influence"]) == 2
    shallow, deep = results["trained"]
    found = deep["versus"]["trained-1"]
    assert found["difference"] == pytest.approx(
        deep["metrics"]["ndcg@10"]["value"] - shallow["metrics"]["ndcg@10"]["value"], abs=2e-6
    )
    assert found["ci95"][0] <= found["difference"] <= found["ci95"][1]
    # a metric is the mean over seeds, so the mean of what each seed gave
    assert sum(deep["by_seed"]) / 2 == pytest.approx(deep["metrics"]["ndcg@10"]["value"], abs=2e-6)


def look_at_ablation(job, results, page) -> None:
    """Every variant is told of."""
    assert results["left_out"] == {}
    assert [row["name"] for row in results["variants"]] == ["teacher", *VARIANTS]


def look_at_certificate(job, results, page) -> None:
    """It finds no more than what is so."""
    shares = {name: found["value"] for name, found in results["shares"].items()}
    assert shares["certified"] <= shares["certified_by_pair"] <= shares["same_first"] <= 1
    assert [step["block"] for step in results["blocks"]] == [1, 2]
    at_one = next(point for point in results["curve"] if point["ratio"] == 1)
    assert at_one["share"] == shares["certified"]
    assert at_one["agreeing"] in (None, 1)
    falling = [point["share_by_pair"] for point in results["curve"]]
    assert falling == sorted(falling, reverse=True)


LOOK_AT = {
    "depth": look_at_depth,
    "ablation": look_at_ablation,
    "certificate": look_at_certificate,
}
"""What has to stand in the files of a study beside what all have to have."""


def test_three_small_files_are_written_and_a_second_start_trains_nothing(
    job, trained, events
) -> None:
    run(job)
    assert {path.name for path in job.output.iterdir()} == FILES
    assert {name: trained.count(name) for name in set(trained)} == TRAININGS[job.study]
    first = {name: (job.output / name).read_bytes() for name in FILES}
    assert len(first["figure.svg"]) < 100_000
    assert len(first["results.json"]) < 20_000
    assert ElementTree.fromstring(first["figure.svg"]).tag.endswith("svg")

    trained.clear()
    shutil.rmtree(job.output)
    run(job)
    assert trained == []
    assert {name: (job.output / name).read_bytes() for name in FILES} == first
    assert len(events("cached")) == sum(TRAININGS[job.study].values())
    results = json.loads((job.output / "results.json").read_text(encoding="utf-8"))
    page = (job.output / "README.md").read_text(encoding="utf-8")
    if job.study in LOOK_AT:
        LOOK_AT[job.study](job, results, page)


@pytest.mark.slow
def test_compression_makes_every_variant_that_fits(make_job) -> None:
    job = make_job("compression")
    run(job)
    results = json.loads((job.output / "results.json").read_text(encoding="utf-8"))
    made = {model["name"] for model in results["models"]} - {"teacher", "student"}
    assert made | set(results["left_out"]) == {variant.name for variant, _ in COMBINATIONS}
    assert len(made) > 10


def test_the_same_bytes_are_written_when_everything_is_trained_again(make_job) -> None:
    once = make_job("certificate", seeds=1)
    again = make_job("certificate", seeds=1, output="other", work="elsewhere")
    run(once)
    run(again)
    for name in FILES:
        assert (once.output / name).read_bytes() == (again.output / name).read_bytes()


def test_only_what_is_missing_is_trained_when_a_study_was_stopped(make_job, trained) -> None:
    run(make_job("depth", seeds=1))
    trained.clear()
    run(make_job("depth", seeds=2))
    assert trained == ["train_teacher", "train_teacher"]


def test_only_the_damaged_training_is_repeated(make_job, trained, events) -> None:
    job = make_job("depth", seeds=1)
    run(job)
    trained.clear()
    damaged = next(job.work.glob("teacher-*")) / MANIFEST
    damaged.write_text("{")
    run(job)
    assert trained == ["train_teacher"]
    assert any("made again" in event["text"] for event in events("message"))


def test_ablation_tells_of_a_variant_that_cannot_differ(make_job, events) -> None:
    blocks = {"blocks": 1}
    job = make_job("ablation", variants=("ce-fresh", "ce", "ce+ms"), seeds=1)
    one = job.config.model_copy(
        update={"cache_teacher": job.config.cache_teacher.model_copy(update=blocks)}
    )
    run(job.model_copy(update={"config": one}))
    results = json.loads((job.output / "results.json").read_text(encoding="utf-8"))
    assert list(results["left_out"]) == ["ce+ms"]
    said = " ".join(event["text"] for event in events("message"))
    assert "ce+ms is left out" in said
    page = (job.output / "README.md").read_text(encoding="utf-8")
    assert "| ce+ms | cache_teacher.blocks is 1" in page


def test_an_unfinished_study_writes_no_page(make_job, trained, monkeypatch) -> None:
    from slmrec.studies import trainings

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trainings, "make_student", stop)
    job = make_job("certificate")
    with pytest.raises(KeyboardInterrupt):
        run(job)
    assert not Path(job.output).exists()


def test_distillation_of_an_ensemble_is_measured_with_and_without_memory(make_job) -> None:
    job = make_job("distillation", seeds=1)
    overrides = [
        "train_teacher.kind=ensemble",
        "train_teacher.item_embeddings=random",
        "train_teacher.ensemble.folds=2",
        "cache_teacher.blocks=1",
        "distill_student.initial_layers=random",
        "distill_student.memory=4",
    ]
    run(job.model_copy(update={"config": change_config(job.config, overrides)}))
    results = json.loads((job.output / "results.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in results["models"]}
    assert results["teacher_networks"] == 2
    bare = {"student, no memory", "direct, no memory"}
    assert (
        set(rows) == {"popularity", "transitions", "sasrec", "teacher", "student", "direct"} | bare
    )
    assert rows["student"]["parameters_backbone"] == rows["direct"]["parameters_backbone"]
    assert "direct, no memory" in rows["student, no memory"]["versus"]
    # everybody walks the same circle, which transitions alone foretell
    assert rows["direct"]["metrics"]["ndcg@10"]["value"] > 0.95
    assert any("layers of the student" in sentence for sentence in results["findings"])
