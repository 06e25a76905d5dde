import numpy as np
import pytest

from slmrec.drift.difference import Lot
from slmrec.drift.states import compare_states


def compared(old, new, seed=0, permutations=199):
    rng = np.random.default_rng(seed)
    lot = Lot(len(old), len(new), permutations, rng)
    states, separation = compare_states(old, new, lot, rng)
    assert (states.name, separation.name) == ("user_states", "state_separation")
    return states, separation


def test_equal_states_alarm_as_often_as_the_level_says():
    # Level 5 % in 200 tries: more than 20 has a chance of about one in a thousand.
    alarms = np.zeros(2, dtype=int)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = compared(rng.normal(size=(60, 8)), rng.normal(size=(60, 8)), seed, permutations=99)
        alarms += [one.p <= 0.05 for one in found]
    assert alarms.max() <= 20


def test_states_that_moved_by_a_fifth_of_their_deviation_are_found():
    rng = np.random.default_rng(1)
    found = compared(rng.normal(size=(1000, 32)), rng.normal(0.2, size=(1000, 32)))
    assert [one.p for one in found] == [1 / 200] * 2
    # 32 directions of .2 each are 32 ** .5 * .2 = 1.13 deviations; Φ(1.13 / √2) = .79.
    assert found[1].current == pytest.approx(0.79, abs=0.03)
    assert found[1].reference == pytest.approx(0.5, abs=0.02)
    assert found[0].touched_share == pytest.approx(2 * found[1].current - 1)


def test_a_change_of_spread_is_found_by_the_kernel_and_not_by_the_line():
    rng = np.random.default_rng(2)
    states, separation = compared(rng.normal(size=(800, 4)), 2 * rng.normal(size=(800, 4)))
    assert states.p == 1 / 200
    assert separation.effect < 0.06


def test_each_user_is_judged_by_a_classifier_of_the_others():
    # With as many directions as people a classifier that saw everybody would part any two groups.
    rng = np.random.default_rng(3)
    found = compared(rng.normal(size=(30, 50)), rng.normal(size=(30, 50)))
    assert found[1].current < 0.75
    assert found[1].p > 0.05


def test_the_area_is_that_of_pairs_when_users_are_left_out_by_hand():
    rng = np.random.default_rng(4)
    old, new = rng.normal(size=(7, 2)), rng.normal(0.5, size=(6, 2))
    _, found = compared(old, new)
    states = np.concatenate((old, new))
    states = (states - states.mean(axis=0)) / states.std(axis=0)
    design = np.concatenate((states, np.ones((13, 1))), axis=1)
    labels = np.repeat([0.0, 1.0], [7, 6])
    scores = []
    for left_out in range(13):
        rest = np.arange(13) != left_out
        x, y = design[rest], labels[rest]
        # The penalty of the whole is kept, since it is small beside the users.
        weights = np.linalg.solve(x.T @ x + np.diag([1.0, 1.0, 0.0]), x.T @ y)
        scores.append(design[left_out] @ weights)
    pairs = [(a > b) + (a == b) / 2 for a in scores[7:] for b in scores[:7]]
    assert found.current == pytest.approx(np.mean(pairs), abs=1e-6)


def test_directions_that_never_vary_say_nothing():
    rng = np.random.default_rng(5)
    old, new = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    still = np.full((40, 1), 7.0)
    one = compared(np.hstack((old, still)), np.hstack((new, still)))
    assert [found.current for found in one] == [found.current for found in compared(old, new)]
