import itertools
import math

import numpy as np
import pytest

from slmrec.evaluation.lists import Touched, gini, list_figures


@pytest.fixture
def touched(leave_one_out) -> Touched:
    # The last two of each user are held out: they touched 1 2 2, 1 3 and 1 in training.
    return Touched(leave_one_out([[1, 2, 2, 4, 5], [1, 3, 4, 5], [1, 5, 4]], 6))


def test_training_users_and_interactions_are_counted(touched: Touched) -> None:
    assert touched.users.tolist() == [0, 3, 1, 1, 0, 0, 0]
    assert touched.interactions.tolist() == [0, 3, 2, 1, 0, 0, 0]
    assert touched.active == 3


def test_figures_are_those_of_hand_arithmetic(touched: Touched) -> None:
    lists = np.array([[1, 2], [1, 3], [2, 0]], dtype=np.int32)
    found = list_figures(lists, touched)
    assert found["coverage"] == pytest.approx(3 / 6)
    # item 1 is known to everybody, 2 and 3 to one of three
    rare = math.log2(3)
    assert found["novelty"] == pytest.approx((rare / 2 + rare / 2 + rare) / 3)
    # 1 and 2 share user 0: cosine 1 / √3; so do 1 and 3 by user 1; a list of one item has no pair
    assert found["diversity"] == pytest.approx(1 - 1 / math.sqrt(3))
    # six items shown 2 2 1 0 0 0 times: mean absolute difference over twice the mean
    shown = [2, 2, 1, 0, 0, 0]
    differences = sum(abs(a - b) for a, b in itertools.product(shown, shown)) / 36
    assert found["exposure_gini"] == pytest.approx(differences / (2 * 5 / 6))
    # of six interactions none is with what is never touched, one with 3, two with 2, three with 1
    ranks = {1: (3 + 1.5) / 6, 2: (1 + 1) / 6, 3: 0.5 / 6}
    means = [(ranks[1] + ranks[2]) / 2, (ranks[1] + ranks[3]) / 2, ranks[2]]
    assert found["exposure_popularity"] == pytest.approx(sum(means) / 3)
    # lists 0 and 1 share item 1, 0 and 2 share item 2, 1 and 2 nothing; a full list has two
    assert found["personalization"] == pytest.approx(1 - (1 / 2 + 1 / 2 + 0) / 3)


def test_everybody_alike_is_not_personal_and_everybody_apart_is(touched: Touched) -> None:
    same = np.array([[1, 2], [2, 1]], dtype=np.int32)
    apart = np.array([[1, 2], [3, 4]], dtype=np.int32)
    assert list_figures(same, touched)["personalization"] == 0.0
    assert list_figures(apart, touched)["personalization"] == 1.0


def test_items_that_nobody_touched_are_new_and_unlike_any_other(touched: Touched) -> None:
    found = list_figures(np.array([[5, 6]], dtype=np.int32), touched)
    assert found["novelty"] == pytest.approx(math.log2(3))
    assert found["diversity"] == 1.0
    assert found["exposure_popularity"] == 0.0
    assert found["personalization"] == 0.0  # one person alone


def test_nothing_listed_gives_zeros(touched: Touched) -> None:
    found = list_figures(np.zeros((3, 2), dtype=np.int32), touched)
    assert set(found.values()) == {0.0}


def test_gini_goes_from_all_alike_to_all_one() -> None:
    assert gini(np.array([3, 3, 3])) == 0.0
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(3 / 4)
    assert gini(np.zeros(4, dtype=np.int64)) == 0.0


def test_diversity_is_the_mean_over_pairs_on_random_lists(leave_one_out) -> None:
    generator = np.random.default_rng(0)
    histories = [generator.permutation(30)[: 4 + user % 9].tolist() for user in range(80)]
    touched = Touched(leave_one_out([[item + 1 for item in one] for one in histories], 30))
    lists = np.stack([generator.permutation(30)[:5] + 1 for _ in range(20)]).astype(np.int32)
    dense = touched.matrix.toarray()
    lengths = np.maximum(np.linalg.norm(dense, axis=0), 1e-12)
    cosines = (dense / lengths).T @ (dense / lengths)
    expected = np.mean(
        [
            1 - np.mean([cosines[a, b] for a, b in itertools.combinations(one.tolist(), 2)])
            for one in lists
        ]
    )
    assert list_figures(lists, touched)["diversity"] == pytest.approx(expected, abs=1e-9)


def test_gini_and_personalization_are_means_over_pairs_on_random_lists(leave_one_out) -> None:
    generator = np.random.default_rng(1)
    touched = Touched(leave_one_out([[1, 2, 3], [4, 5, 6]], 25))
    lists = np.stack([generator.permutation(25)[:6] + 1 for _ in range(40)]).astype(np.int32)
    lists[::5, 4:] = 0  # some lists are short, and one is empty
    lists[7] = 0
    found = list_figures(lists, touched)
    shown = [np.count_nonzero(lists == item) for item in range(1, 26)]
    apart = np.mean([abs(a - b) for a, b in itertools.product(shown, shown)])
    assert found["exposure_gini"] == pytest.approx(apart / (2 * np.mean(shown)), abs=1e-9)
    sets = [set(one.tolist()) - {0} for one in lists if one.any()]
    shared = np.mean([len(a & b) / 6 for a, b in itertools.combinations(sets, 2)])
    assert found["personalization"] == pytest.approx(1 - shared, abs=1e-9)


def test_diversity_is_the_same_when_few_lists_are_summed_up_together(
    leave_one_out, monkeypatch
) -> None:
    generator = np.random.default_rng(2)
    histories = [(generator.permutation(30)[:9] + 1).tolist() for _ in range(50)]
    touched = Touched(leave_one_out(histories, 30))
    lists = np.stack([generator.permutation(30)[:5] + 1 for _ in range(20)]).astype(np.int32)
    lists[3:6] = lists[2]
    together = list_figures(lists, touched)
    monkeypatch.setattr("slmrec.evaluation.lists._TOUCHES", 1)
    monkeypatch.setattr("slmrec.evaluation.lists._ROWS", 3)
    alone = list_figures(lists, touched)
    assert together["diversity"] == pytest.approx(alone["diversity"], abs=1e-12)
    assert together["novelty"] == alone["novelty"]
