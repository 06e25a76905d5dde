"""The sentences of the study follow planted numbers."""

import polars as pl
import pytest

from slmrec.evaluation.outcome import Evaluation
from slmrec.evaluation.selection import Choice
from slmrec.studies.combinations import COMBINATIONS
from slmrec.studies.compression import FAST_TEACHER, findings


def model(name, *, backbone, size, weights="float32", ndcg=0.2, overlap=1.0):
    return {
        "name": name,
        "parameters_backbone": backbone,
        "bytes": size,
        "weights": weights,
        "metrics": {"ndcg@10": {"value": ndcg, "ci95": [0.1, 0.3]}},
        "overlap@10": overlap,
    }


def time(milliseconds, users):
    return {"batch1_p50": milliseconds, "batch1_p95": 9.0, "users_per_second": users}


@pytest.fixture
def evaluation() -> Evaluation:
    results = {
        "models": [
            model("teacher", backbone=800, size=9000),
            model("student", backbone=100, size=1000),
            model("small", backbone=100, size=240, weights="int8", ndcg=0.199, overlap=0.96),
        ],
        "comparisons": [
            {"a": "small", "b": "teacher", "difference": 9.0, "ci95": [9.0, 9.0]},
            {"a": "small", "b": "student", "difference": -0.001, "ci95": [-0.002, 0.0005]},
        ],
    }
    return Evaluation(results, pl.DataFrame(), None)  # type: ignore[arg-type]


TIMINGS = {"student": time(2.0, 500.0), "small": time(0.5, 2000.0), "teacher": time(20.0, 50.0)}


def test_the_candidate_is_told_beside_its_student_and_its_teacher(evaluation: Evaluation) -> None:
    chosen, student, teacher = findings(evaluation, TIMINGS, Choice("small", "the only one"), 64)
    assert chosen == "Chosen is `small`: the only one."
    assert student == (
        "Against the student as trained it changes NDCG@10 by -0.0010 [-0.0020, +0.0005] (-0.5 %), "
        "lists 96.0 % of what it lists, has 24.0 % of the bytes and answers batches of 64 4.0 times as "
        "fast as the student in torch."
    )
    # 800 weights of four bytes and 100 of one
    assert teacher == (
        "Against its teacher at its fastest it answers 40.0 times as fast for one user and 40.0 times "
        "in batches of 64; its layers have 32 times fewer bytes."
    )


def test_the_teacher_is_taken_where_it_is_faster(evaluation: Evaluation) -> None:
    timings = TIMINGS | {FAST_TEACHER: time(8.0, 40.0)}  # faster for one user, slower in batches
    teacher = findings(evaluation, timings, Choice("small", "it"), 64)[2]
    assert "16.0 times as fast for one user and 40.0 times in batches" in teacher


def test_combinations_hold_the_measure_and_each_has_a_name_of_its_own() -> None:
    names = [variant.name for variant, _ in COMBINATIONS]
    assert len(set(names)) == len(names)
    assert any(variant.keeps_everything for variant, _ in COMBINATIONS)
