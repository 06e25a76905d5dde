import numpy as np
import pytest

from slmrec.drift.difference import Lot, benjamini_hochberg, lost_share, p_value


def test_rejections_are_those_of_the_published_example():
    # Benjamini and Hochberg (1995), section 3: fifteen p-values; at .05 four are rejected.
    p = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]
    assert benjamini_hochberg(p[::-1], 0.05)[::-1] == [True] * 4 + [False] * 11
    # A larger p-value below its own limit carries the smaller ones with it.
    assert benjamini_hochberg([0.04, 0.03], 0.05) == [True, True]
    assert benjamini_hochberg([0.06, 0.03], 0.05) == [False, False]


def test_a_p_value_counts_what_is_at_least_as_far():
    assert p_value(np.array([1.0, 2.0, 3.0]), 2.0) == 3 / 4
    assert p_value(np.array([1.0, 2.0, 3.0]), 9.0) == 1 / 4


def test_a_ratio_is_of_sums_and_none_without_a_denominator():
    lot = Lot(2, 2, 99, np.random.default_rng(0))
    top, base = np.array([1.0, 2.0, 3.0, 9.0]), np.array([2.0, 2.0, 4.0, 2.0])
    found = lot.ratios({"ndcg": (top, base), "time_gap": (top, np.array([1.0, 1.0, 0.0, 0.0]))})
    assert found["time_gap"] is None
    assert (found["ndcg"].before, found["ndcg"].after) == (3 / 4, 2.0)
    assert found["ndcg"].change == 5 / 4


def test_different_items_are_counted_on_each_side():
    lot = Lot(2, 2, 99, np.random.default_rng(0))
    found = lot.counted(np.array([0, 0, 1, 2, 3]), np.array([5, 6, 5, 6, 6]))
    assert found.distinct == (2, 1)
    assert set(found.distincts.tolist()) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize(
    ("before", "after", "lost"), [(4, 3, 0.25), (3, 4, 0.25), (0, 0, 0), (0, 2, 1)]
)
def test_what_is_lost_is_a_share_of_the_larger(before, after, lost):
    assert lost_share(before, after) == lost
