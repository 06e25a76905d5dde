import math

import numpy as np
import pytest

from slmrec.config import EvaluateModels
from slmrec.errors import ConfigError, DataError
from slmrec.evaluation.comparisons import Contender
from slmrec.evaluation.evaluate import evaluate
from slmrec.evaluation.outcome import headline, short

CONFIG = EvaluateModels(cutoffs=(1, 10), resamples=200)
# 20 items; user u was shown 1, 2 in training, 3 in validation and has target 4 + u % 10, so that
# the items from 4 on never occur in training.
USERS, ITEMS = 40, 20


@pytest.fixture
def sequences(leave_one_out):
    return leave_one_out([[1, 2, 3, 4 + user % 10] for user in range(USERS)], ITEMS)


@pytest.fixture
def contenders(fixed_scorer):
    def descending(history):
        return [0.0, *(-float(item) for item in range(1, ITEMS + 1))]

    def ascending(history):
        return [float(item) for item in range(ITEMS + 1)]

    def contender(name, kind, function, size):
        return Contender(name, kind, fixed_scorer(name + "-inside", function, size))

    return [
        contender("popularity", "baseline", ascending, 0),
        contender("transitions", "baseline", ascending, 5),
        contender("sasrec", "sasrec", descending, 70),
        contender("teacher", "teacher", descending, 900),
        contender("student", "student", descending, 100),
        contender("int8", "servable", descending, 40),
        contender("broken", "servable", ascending, 10),
    ]


def test_metrics_equal_hand_arithmetic_when_ranks_are_known(sequences, contenders):
    # Lowest index first and 1, 2, 3 left out: target 4 + u % 10 has rank 1 + u % 10.
    found = evaluate(contenders, sequences, CONFIG)
    metrics = found.model("student")["metrics"]
    assert metrics["hr@1"]["value"] == 0.1
    assert metrics["hr@10"]["value"] == 1.0
    ndcg = sum(1 / math.log2(rank + 1) for rank in range(1, 11)) / 10
    assert metrics["ndcg@10"]["value"] == pytest.approx(ndcg, abs=1e-6)
    assert metrics["mrr"]["value"] == pytest.approx(sum(1 / r for r in range(1, 11)) / 10, abs=1e-6)
    low, high = metrics["ndcg@10"]["ci95"]
    assert low < ndcg < high
    assert found.model("student")["lists"]["coverage"] == 10 / 20
    # Items from 4 on in ascending and in descending order: 4 … 13 and 20 … 11 share three.
    assert found.model("student")["overlap@10"] == 1.0
    assert found.model("broken")["overlap@10"] == pytest.approx(0.3)
    assert found.ranks["student"].to_list() == [1 + user % 10 for user in range(USERS)]


def test_seen_items_rank_when_they_are_not_filtered(sequences, contenders):
    config = CONFIG.model_copy(update={"filter_seen": False})
    found = evaluate(contenders, sequences, config)
    assert found.ranks["student"].to_list() == [4 + user % 10 for user in range(USERS)]
    assert found.results["filter_seen"] is False


def test_cold_targets_count_and_are_reported_when_training_never_saw_them(
    fixed_scorer, leave_one_out, contenders
):
    # Items 1, 2, 4 are in training; the targets are 4, warm, and 5, 3, cold.
    sequences = leave_one_out([[1, 2, 3, 4], [1, 2, 3, 5], [1, 4, 2, 3]], ITEMS)
    found = evaluate(contenders, sequences, CONFIG)
    assert found.results["target_cold_share"] == pytest.approx(2 / 3, abs=1e-6)
    assert found.ranks["target_cold"].to_list() == [False, True, True]
    assert found.ranks["target"].to_list() == [4, 5, 3]
    assert found.results["users"] == 3
    assert found.results["enough_users"] is False


def test_comparisons_hold_every_pair_that_matters_when_all_roles_are_filled(sequences, contenders):
    found = evaluate(contenders, sequences, CONFIG)
    pairs = [(pair["a"], pair["b"]) for pair in found.results["comparisons"]]
    learned = ["sasrec", "teacher", "student", "int8", "broken"]
    expected = {(name, base) for name in learned for base in ("popularity", "transitions")}
    expected |= {("student", "teacher"), ("int8", "student"), ("broken", "student")}
    expected |= {("int8", "teacher"), ("broken", "teacher")}
    expected |= {(name, "sasrec") for name in ("teacher", "student", "int8", "broken")}
    assert len(pairs) == len(expected)
    assert set(pairs) == expected


def test_segments_hold_their_own_users_and_correct_all_their_comparisons(sequences, contenders):
    found = evaluate(contenders, sequences, CONFIG)
    segments = {f"{one['kind']}: {one['name']}": one for one in found.results["segments"]}
    # All histories are alike, all targets cold, times all different.
    assert {name: one["users"] for name, one in segments.items()} == {
        "history: light": 40,
        "target: cold": 40,
        **{f"time: quarter {number}": 10 for number in (1, 2, 3, 4)},
    }
    whole = found.model("student")["metrics"]["ndcg@10"]
    assert segments["target: cold"]["models"]["student"] == whole
    assert segments["target: cold"]["enough_users"] is True
    assert segments["time: quarter 2"]["enough_users"] is False
    pairs = [pair for one in segments.values() for pair in one["comparisons"]]
    assert {(pair["a"], pair["b"]) for pair in pairs} == {
        (a, b)
        for a in ("student", "int8", "broken")
        for b in ("sasrec", "transitions", "student")
        if a != b
    }
    # Two segments have enough users: the same two models are compared twice, and both are alike.
    for name in ("history: light", "target: cold"):
        for pair in segments[name]["comparisons"]:
            assert pair["p_holm"] == pytest.approx(min(2 * pair["p"], 1.0), abs=1e-5)
    assert {pair["p_holm"] for pair in segments["time: quarter 2"]["comparisons"]} == {1.0}


def test_difference_is_signed_a_less_b_when_a_is_better(sequences, contenders):
    # Highest index first: targets 4 … 13 have ranks 17 … 8, so 11, 12 and 13 are hit at 10, 9, 8.
    popularity = sum(1 / math.log2(rank + 1) for rank in (8, 9, 10)) / 10
    student = sum(1 / math.log2(rank + 1) for rank in range(1, 11)) / 10
    found = evaluate(contenders, sequences, CONFIG)
    pair = next(
        pair
        for pair in found.results["comparisons"]
        if (pair["a"], pair["b"]) == ("student", "popularity")
    )
    assert pair["difference"] == pytest.approx(student - popularity, abs=2e-6)
    assert pair["ci95"][0] > 0
    assert pair["p"] == pytest.approx(2 / 201, abs=1e-6)


def test_progress_names_model_and_quality_when_users_are_ranked(sequences, contenders):
    class Recorder:
        def __init__(self):
            self.updates = []

        def update(self, done, total, note=""):
            self.updates.append((done, total, note))

        def say(self, message):
            pass

    recorder = Recorder()
    evaluate(contenders, sequences, CONFIG, recorder)
    assert recorder.updates[3] == (160, 280, "teacher · ndcg@10 .4544")
    assert recorder.updates[-1][:2] == (280, 280)


def test_names_are_refused_when_two_models_share_one(sequences, contenders):
    with pytest.raises(ConfigError, match="'int8' is taken"):
        evaluate([*contenders, contenders[5]], sequences, CONFIG)


def test_name_is_refused_when_it_is_a_column_of_the_ranks(sequences, contenders):
    clash = Contender("target", "servable", contenders[5].scorer)
    with pytest.raises(ConfigError, match="'target' is taken"):
        evaluate([*contenders, clash], sequences, CONFIG)


def test_evaluation_is_refused_when_there_is_no_student(sequences, contenders):
    with pytest.raises(ConfigError, match="0 models of kind 'student'"):
        evaluate(contenders[:4], sequences, CONFIG)


def test_evaluation_is_refused_when_no_user_can_be_evaluated(leave_one_out, contenders):
    sequences = leave_one_out([], ITEMS)
    with pytest.raises(DataError, match="no user has a test interaction"):
        evaluate(contenders, sequences, CONFIG)


def test_headline_says_model_interval_baseline_and_users_when_asked(sequences, contenders):
    line = headline(evaluate(contenders, sequences, CONFIG))
    assert line.startswith("student NDCG@10 .4544 [.")
    assert line.endswith("], popularity .0906 over 40 users")


def test_share_is_written_without_zero_when_below_one():
    written = [short(value) for value in (0.0712, 1.0, 0.0, -0.05)]
    assert written == [".0712", "1.0000", ".0000", "-.0500"]


def test_ranks_have_declared_types_when_written(sequences, contenders):
    schema = evaluate(contenders, sequences, CONFIG).ranks.schema
    assert str(schema["student"]) == "Int32"
    assert str(schema["target_cold"]) == "Boolean"
    assert np.all([name in schema for name in ("user_index", "target")])
