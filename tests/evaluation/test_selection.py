import dataclasses

import pytest

from slmrec.config import EvaluateModels
from slmrec.errors import ConfigError
from slmrec.evaluation.selection import Standing, choose_candidate, standings

CONFIG = EvaluateModels(max_ndcg_loss=0.01, equal_latency_share=0.1)
STUDENT = Standing("student", 1000, 0.100, 1.0, 2.0, 500.0, float32=True)
FLOAT32 = Standing("float32", 900, 0.100, 1.0, 1.0, 1000.0, float32=True)
INT8 = Standing("int8", 400, 0.0995, 0.98, 0.50, 3000.0)


def variant(name, **changes):
    return dataclasses.replace(INT8, name=name, **changes)


def test_the_fastest_that_keeps_the_quality_is_chosen_though_another_is_smaller():
    small = variant("small", bytes=100, milliseconds=0.7)
    poor = variant("poor", ndcg=0.05, milliseconds=0.1)
    choice = choose_candidate(STUDENT, [FLOAT32, small, INT8, poor], CONFIG)
    assert choice.name == "int8"
    assert choice.reason == (
        "fastest of 3 (of 4) variants that keep NDCG@10 within 1.0% of the student's and 95% of its "
        "lists: 0.0995 against 0.1000, 98.0% of the lists, 0.50 ms a request, 400 bytes"
    )


def test_the_smallest_is_chosen_of_those_that_are_equally_fast():
    small = variant("small", bytes=100, milliseconds=0.549)
    smaller_but_slower = variant("smaller", bytes=50, milliseconds=0.56)
    choice = choose_candidate(STUDENT, [FLOAT32, INT8, small, smaller_but_slower], CONFIG)
    assert choice.name == "small"
    assert "smallest of the 2 fastest" in choice.reason


def test_the_better_one_is_chosen_when_size_and_speed_are_equal():
    better = variant("z-better", ndcg=0.1)
    assert choose_candidate(STUDENT, [FLOAT32, INT8, better], CONFIG).name == "z-better"
    assert choose_candidate(STUDENT, [FLOAT32, variant("b"), variant("a")], CONFIG).name == "a"


def test_a_variant_keeps_the_quality_when_it_loses_exactly_what_is_allowed():
    config = EvaluateModels(max_ndcg_loss=0.5)
    student = dataclasses.replace(STUDENT, ndcg=0.5)
    edge, below = variant("edge", ndcg=0.25), variant("no", ndcg=0.2499, milliseconds=0.1)
    assert choose_candidate(student, [edge, below], config).name == "edge"


@pytest.mark.parametrize("slow", [{"milliseconds": 1.1}, {"users_per_second": 990.0}])
def test_what_is_slower_than_float32_is_never_chosen(slow):
    choice = choose_candidate(STUDENT, [FLOAT32, variant("int8", bytes=1, **slow)], CONFIG)
    assert choice.name == "float32"
    assert "1 slower than float32 on this machine left out" in choice.reason


def test_a_poor_model_in_float32_is_no_measure():
    poor = variant("heads", ndcg=0.05, milliseconds=0.4, users_per_second=9000.0, float32=True)
    assert choose_candidate(STUDENT, [FLOAT32, poor, INT8], CONFIG).name == "int8"


def test_models_in_float32_are_not_left_out_for_each_other():
    pruned = variant("pruned", milliseconds=0.95, users_per_second=900.0, float32=True)
    assert choose_candidate(STUDENT, [FLOAT32, pruned], CONFIG).name == "pruned"


def test_the_student_is_the_measure_where_no_variant_is_in_float32():
    assert choose_candidate(STUDENT, [INT8], CONFIG).name == "int8"
    slow = variant("slow", milliseconds=2.1)
    with pytest.raises(ConfigError, match="all 1 that keep the quality are slower on this machine"):
        choose_candidate(STUDENT, [slow], CONFIG)


def test_what_lists_other_items_is_not_chosen_however_good_it_is():
    other = variant("other", ndcg=0.2, overlap=0.949, milliseconds=0.1)
    assert choose_candidate(STUDENT, [FLOAT32, INT8, other], CONFIG).name == "int8"


def test_the_best_is_chosen_and_said_so_when_none_keeps_the_quality():
    variants = [variant("small", ndcg=0.07), variant("better", ndcg=0.09, milliseconds=0.9)]
    choice = choose_candidate(STUDENT, variants, CONFIG)
    assert choice.name == "better"
    assert "no variant keeps" in choice.reason
    assert "10.0% below" in choice.reason


def test_any_variant_keeps_the_quality_of_a_student_that_hits_nothing():
    student = dataclasses.replace(STUDENT, ndcg=0.0)
    assert choose_candidate(student, [variant("a", ndcg=0.0)], CONFIG).name == "a"


def test_the_best_is_chosen_when_a_student_hits_nothing_and_no_variant_lists_what_it_lists():
    student = dataclasses.replace(STUDENT, ndcg=0.0)
    choice = choose_candidate(student, [variant("a", ndcg=0.0, overlap=0.0)], CONFIG)
    assert choice.name == "a"
    assert "0.0% below" in choice.reason


def test_a_choice_is_refused_when_there_is_no_variant():
    with pytest.raises(ConfigError, match="variants"):
        choose_candidate(STUDENT, [], CONFIG)


def test_standings_are_read_from_results_and_timings():
    def model(name, kind, weights="float32"):
        return {
            "name": name,
            "kind": kind,
            "bytes": 7,
            "weights": weights,
            "overlap@10": 0.97,
            "metrics": {"ndcg@10": {"value": 0.25, "ci95": [0.2, 0.3]}},
        }

    results = {
        "models": [
            model("popularity", "baseline"),
            model("teacher", "teacher"),
            model("student", "student"),
            model("float32", "servable"),
            model("int8", "servable", "int8"),
        ]
    }
    names = ("popularity", "teacher", "student", "float32", "int8")
    timings = {
        name: {"batch1_p50": float(n), "users_per_second": 10.0 * n} for n, name in enumerate(names)
    }
    student, variants = standings(results, timings)
    assert student == Standing("student", 7, 0.25, 0.97, 2.0, 20.0, float32=True)
    assert [one.name for one in variants] == ["float32", "int8"]
    assert [one.float32 for one in variants] == [True, False]
