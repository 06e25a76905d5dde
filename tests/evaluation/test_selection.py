import pytest

from slmrec.errors import ConfigError
from slmrec.evaluation.selection import Standing, choose_candidate

STUDENT = Standing("student", 1000, 0.100)


def test_smallest_variant_is_chosen_when_it_keeps_the_quality():
    variants = [Standing("int8", 400, 0.1), Standing("pruned", 300, 0.0992), Standing("x", 9, 0.05)]
    choice = choose_candidate(STUDENT, variants, 0.01)
    assert choice.name == "pruned"
    assert "2 (of 3)" in choice.reason


def test_variant_qualifies_when_it_loses_exactly_what_is_allowed():
    student = Standing("student", 1000, 0.5)
    variants = [Standing("big", 400, 0.5), Standing("edge", 300, 0.25), Standing("no", 1, 0.2499)]
    assert choose_candidate(student, variants, 0.5).name == "edge"


def test_best_variant_is_chosen_and_said_so_when_none_keeps_the_quality():
    variants = [Standing("small", 100, 0.070), Standing("better", 400, 0.090)]
    choice = choose_candidate(STUDENT, variants, 0.01)
    assert choice.name == "better"
    assert "no variant keeps" in choice.reason
    assert "10.0% below" in choice.reason


def test_better_variant_is_chosen_when_sizes_are_equal():
    variants = [Standing("a", 100, 0.1), Standing("b", 100, 0.11)]
    assert choose_candidate(STUDENT, variants, 0.01).name == "b"


def test_any_variant_qualifies_when_the_student_hits_nothing():
    student = Standing("student", 1000, 0.0)
    assert choose_candidate(student, [Standing("a", 1, 0.0)], 0.01).name == "a"


def test_choice_is_refused_when_there_is_no_variant():
    with pytest.raises(ConfigError, match="variants"):
        choose_candidate(STUDENT, [], 0.01)
