import numpy as np
import pytest

from slmrec.evaluation.sampled import draw_probe
from slmrec.evaluation.shortcuts import diagnose, repeat_share, sentence


def probe_of(sequences):
    return draw_probe(sequences, *sequences.targets("test"), most=500, count=1, seed=0)


def diagnosis(model, sequences, **changes):
    settings = {
        "quality": {"popularity": 0.05, "transitions": 0.2},
        "own": 0.25,
        "repeats": 0.0,
        "exclude_seen": False,
        "resamples": 200,
        "seed": 0,
    }
    return diagnose(model, sequences, probe_of(sequences), **(settings | changes))


@pytest.fixture
def sequences(leave_one_out):
    """A hundred users whose fifth item back says what comes next."""
    generator = np.random.default_rng(0)
    histories = []
    for _ in range(100):
        history = generator.integers(1, 31, size=7).tolist()
        histories.append([*history, 31 + history[2]])
    return leave_one_out(histories, 61)


def knows_the_fifth(history):
    scores = np.zeros(62)
    if len(history) >= 5:
        scores[31 + history[-5]] = 1.0
    return scores.tolist()


def test_what_lies_far_back_is_found_to_matter(sequences, fixed_scorer) -> None:
    found = diagnosis(fixed_scorer("student", knows_the_fifth), sequences)
    one, three, ten = found["shortened"]
    # blind, targets from 32 to 61 stand behind 31 others: nothing in the first ten
    assert (one["newest"], one["value"], one["whole_adds"]) == (1, 0.0, 1.0)
    assert three["whole_adds"] == 1.0
    assert (ten["value"], ten["whole_adds"]) == (1.0, 0.0)
    assert "is gained by more than the newest 10 items" in found["sentence"]


def test_a_model_of_the_newest_item_needs_no_more(leave_one_out, fixed_scorer) -> None:
    sequences = leave_one_out([[user % 9 + 1] * 4 + [user % 9 + 2] for user in range(90)], 10)

    def next_item(history):
        scores = np.zeros(11)
        if len(history):
            scores[history[-1] + 1] = 1.0
        return scores.tolist()

    found = diagnosis(fixed_scorer("student", next_item), sequences)
    assert found["shortened"][0]["whole_adds"] == 0.0
    assert (
        "nothing that these users show is gained by more than the newest item;" in found["sentence"]
    )


def test_baselines_are_shares_of_the_model(sequences, fixed_scorer) -> None:
    found = diagnosis(fixed_scorer("student", knows_the_fifth), sequences, repeats=0.25)
    assert found["reached"] == {"popularity": 0.2, "transitions": 0.8}
    assert found["sentence"].startswith(
        "Of the student's NDCG@10 transitions reach 80% and popularity reaches 20%;"
    )
    assert found["sentence"].endswith("25.0% of the targets are repeats.")
    nothing = diagnosis(fixed_scorer("s", knows_the_fifth), sequences, own=0.0)
    assert nothing["reached"] == {"popularity": None, "transitions": None}
    assert nothing["sentence"] == "The student hits nothing, so there is no quality to explain."


def test_longer_histories_that_help_are_said_with_their_interval() -> None:
    shortened = [
        {"newest": n, "value": 0.1, "whole_adds": 0.01 / n, "ci95": [0.005 / n, 0.02 / n]}
        for n in (1, 3, 10)
    ]
    said = sentence({"popularity": 0.1}, shortened, 0.0)
    assert "histories beyond the newest 10 items add +0.0010 [+0.0005, +0.0020] NDCG@10" in said


def test_repeats_are_targets_in_the_history(leave_one_out) -> None:
    sequences = leave_one_out([[1, 2, 1], [1, 2, 3], [5, 5, 5], [4, 1, 2]], 5)
    assert repeat_share(sequences, *sequences.targets("test")) == 0.5


def test_few_users_are_said_to_be_few() -> None:
    shortened = [{"newest": 1, "value": 0.1, "whole_adds": 0.2, "ci95": [-0.5, 0.5]}]
    said = sentence({"popularity": 0.1}, shortened, 0.0, enough=False)
    assert "too few users to say whether longer histories help" in said
