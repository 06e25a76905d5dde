import numpy as np
import pytest

from slmrec.evaluation.sampled import Probe, draw_probe, sampled_metrics, sampled_ranks


def test_negatives_are_items_that_the_user_never_touched_none_twice(leave_one_out) -> None:
    generator = np.random.default_rng(0)
    histories = [(1 + generator.permutation(30)[:8]).tolist() for _ in range(12)]
    sequences = leave_one_out(histories, 30)
    users, positions = sequences.targets("test")
    probe = draw_probe(sequences, users, positions, most=12, count=20, seed=3)
    assert probe.negatives.shape == (12, 20)
    for user, negatives in zip(probe.users, probe.negatives, strict=True):
        assert len(set(negatives.tolist())) == 20
        assert not set(negatives.tolist()) & {0, *histories[user]}
    again = draw_probe(sequences, users, positions, most=12, count=20, seed=3)
    other = draw_probe(sequences, users, positions, most=12, count=20, seed=4)
    assert np.array_equal(again.negatives, probe.negatives)
    assert not np.array_equal(other.negatives, probe.negatives)


def test_negatives_are_uniform_over_what_is_left(leave_one_out) -> None:
    sequences = leave_one_out([[1, 2, 3]] * 3000, 13)
    users, positions = sequences.targets("test")
    probe = draw_probe(sequences, users, positions, most=3000, count=4, seed=0)
    counts = np.bincount(probe.negatives.ravel(), minlength=14)[4:]
    # 3,000 · 4 / 10 = 1,200 each, with a deviation of √(3,000 · .4 · .6) = 27
    assert counts.sum() == 12_000
    assert np.abs(counts - 1200).max() < 5 * 27


def test_where_fewer_are_left_all_of_them_are_taken(leave_one_out) -> None:
    sequences = leave_one_out([[1, 2, 3]], 5)
    probe = draw_probe(sequences, *sequences.targets("test"), most=9, count=4, seed=0)
    assert probe.negatives.tolist() == [[4, 5, 0, 0]]


def test_users_are_spread_evenly(leave_one_out) -> None:
    sequences = leave_one_out([[1, 2, 3]] * 101, 9)
    probe = draw_probe(sequences, *sequences.targets("test"), most=3, count=1, seed=0)
    assert probe.users.tolist() == [0, 50, 100]


def test_ranks_count_higher_negatives_and_equal_ones_of_smaller_index(
    leave_one_out, fixed_scorer
) -> None:
    # One user whose target is 4; scores by item: 9 above, 2 and 6 equal, 5 below, 7 not drawn.
    sequences = leave_one_out([[1, 3, 4]], 9)
    scores = [0, 0, 5.0, 0, 5.0, 1.0, 5.0, 8.0, 0, 7.0]
    scorer = fixed_scorer("m", lambda history: scores)
    users, positions = sequences.targets("test")
    probe = Probe(users, positions, np.array([[2, 5, 6, 9, 0]], dtype=np.int32))
    assert sampled_ranks(scorer, sequences, probe, "m").tolist() == [3]  # after 9 and 2


def test_a_perfect_and_a_blind_model(leave_one_out, fixed_scorer) -> None:
    sequences = leave_one_out([[1, 2, 3 + user % 40] for user in range(80)], 60)
    probe = draw_probe(sequences, *sequences.targets("test"), most=80, count=20, seed=0)
    alike = sampled_ranks(fixed_scorer("m", lambda _: [0.0] * 61), sequences, probe, "m")
    # ties go to the smaller index: every negative below the target comes first
    targets = sequences.items[probe.positions]
    assert alike.tolist() == (1 + (probe.negatives < targets[:, None]).sum(axis=1)).tolist()
    found = sampled_metrics(np.ones(80, dtype=np.int32), 100, 0)
    assert {name: one["value"] for name, one in found.items()} == {
        "hr@1": 1.0,
        "hr@5": 1.0,
        "ndcg@5": 1.0,
        "mrr": 1.0,
    }


def test_metrics_are_those_of_hand_arithmetic() -> None:
    found = sampled_metrics(np.array([1, 3, 7]), 100, 0)
    assert found["hr@1"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["hr@5"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["ndcg@5"]["value"] == pytest.approx((1 + 1 / 2) / 3, abs=1e-6)
    assert found["mrr"]["value"] == pytest.approx((1 + 1 / 3 + 1 / 7) / 3, abs=1e-6)
