from dataclasses import replace
from itertools import combinations
from math import log2

import numpy as np
import pytest

from slmrec.drift.log_statistics import compare_logs
from slmrec.drift.windows import Window


def window(rows, known_users=(), known_items=(), size=20):
    users, times, items = np.array(rows, dtype=np.int64).T
    mask_users, mask_items = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    mask_users[list(known_users)] = True
    mask_items[list(known_items)] = True
    return Window(0, len(rows), users, items, times, mask_users, mask_items)


def differences(old, new, permutations=999, max_users=100, **more):
    rng = np.random.default_rng(0)
    found = compare_logs(old, new, permutations=permutations, max_users=max_users, rng=rng, **more)
    return {difference.name: difference for difference in found}


def test_statistics_are_hand_arithmetic_when_windows_are_tiny():
    # user, second, item; in the time order of a window
    old = window([(1, 0, 1), (1, 3, 1), (2, 4, 2), (2, 11, 3)], [1], [1, 2])
    new = window([(3, 12, 1), (4, 13, 4), (3, 27, 4), (3, 28, 5), (3, 29, 6), (4, 76, 7)], [3], [1])
    found = differences(old, new)
    shares = found["new_user_share"]
    assert (shares.reference, shares.current, shares.effect) == (1 / 2, 1 / 2, 0)
    # New users made 2 of 4 interactions, then 2 of 6.
    assert shares.touched_share == pytest.approx(2 / 4 - 2 / 6)
    assert found["new_item_share"].reference == 1 / 4
    assert found["new_item_share"].current == pytest.approx(5 / 6)
    # Twice 2 interactions a user, then 4 and 2; the typical one is the geometric mean.
    assert found["sequence_length"].reference == pytest.approx(2)
    assert found["sequence_length"].effect == pytest.approx(8**0.5 / 2 - 1)
    assert found["repeat_share"].reference == 1 / 4
    assert found["repeat_share"].current == 0
    # Gaps of 3 and 7 s, then 15, 1, 1 and 63 s; 1 + gap is a power of two, and so are the means.
    assert found["time_gap"].reference == pytest.approx(2 ** ((2 + 3) / 2) - 1)
    assert found["time_gap"].current == pytest.approx(2 ** ((4 + 1 + 1 + 6) / 4) - 1)
    assert found["time_gap"].effect == pytest.approx(2 ** (3 - 2.5) - 1)


def test_divergence_is_that_of_the_definition_when_items_move():
    # Four users a side; item 1 is touched by 3 and 1 of 4, item 2 by 1 and 3.
    old = window([(u, u, 1 if u < 3 else 2) for u in range(4)])
    new = window([(u, u, 1 if u < 5 else 2) for u in range(4, 8)])
    found = differences(old, new)["item_popularity"]

    def entropy(*shares):
        return -sum(share * log2(share) for share in shares if share)

    def divergence(first):  # of the 4 users of one side, `first` touched item 1; of all 8, four did
        return 1 - entropy(first / 4, 1 - first / 4)

    assert found.current == pytest.approx(divergence(3))
    # Every way to choose the 4 users of a side: the mean and the p-value that permuting estimates.
    touched = [1, 1, 1, 0, 1, 0, 0, 0]
    every = [divergence(sum(touched[u] for u in side)) for side in combinations(range(8), 4)]
    assert found.reference == pytest.approx(np.mean(every), abs=0.03)
    assert found.effect == pytest.approx(divergence(3) - np.mean(every), abs=0.03)
    assert found.p == pytest.approx(np.mean([e >= divergence(3) - 1e-9 for e in every]), abs=0.05)


def test_p_value_counts_users_not_interactions_when_one_user_is_heavy():
    # One user of forty makes 200 interactions with an item nobody else touches: of 440
    # interactions that is nearly half, of the users it is one.
    old = window([(u, u, 1 + i) for u in range(20) for i in range(6)], size=60)
    rows = [(u, u, 1 + i) for u in range(20, 40) for i in range(6)]
    new = window([*rows, *[(39, 40 + i, 9) for i in range(200)]], size=60)
    found = differences(old, new)
    assert found["item_popularity"].p > 0.2
    assert found["sequence_length"].p > 0.2


def test_p_value_is_the_smallest_when_every_user_changed():
    old = window([(u, u, 1) for u in range(20)], size=60)
    new = window([(u, u, 2) for u in range(20, 40)], size=60)
    found = differences(old, new, permutations=199)["item_popularity"]
    assert found.p == 1 / 200
    assert found.current == pytest.approx(1)
    assert found.touched_share > 0.8


def test_p_value_is_one_when_a_statistic_is_constant():
    rows = [(u, u, 1) for u in range(20)]
    found = differences(window(rows), window(rows))
    assert found["repeat_share"].p == 1
    assert found["repeat_share"].effect == 0


def test_volume_is_per_day_when_the_rate_doubles():
    day = 86_400
    old = window([(1, i * day // 2, 1) for i in range(40)])  # 20 days of 2
    start = 20 * day
    new = window([(1, start + i * day // 4, 1) for i in range(81)])  # 20 days of 4
    found = differences(old, new)["interactions_per_day"]
    assert found.reference == pytest.approx(2, abs=0.1)
    assert found.current == pytest.approx(4, abs=0.1)
    assert found.p == 1 / 1000
    # Half an interaction is added to each side so that an empty one stays finite.
    assert found.effect == pytest.approx(4.5 / 2.5 - 1, abs=0.05)


def test_new_items_do_not_alarm_when_a_single_item_makes_the_difference():
    # All twenty users touch the one new item: users agree, but one arrival is no trend.
    old = window([(u, u, 1 + i) for u in range(20) for i in (0, 1)], known_items=[1, 2], size=60)
    new = window(
        [(u, u, item) for u in range(20, 40) for item in (1, 9)], known_items=[1, 2], size=60
    )
    assert differences(old, new)["new_item_share"].p > 0.5
    # Production, which does not know it, fails all of them.
    assert differences(old, new, adds_up=True)["new_item_share"].p == 1 / 1000


def test_only_so_many_users_are_used_when_a_window_has_more():
    old = window([(u, u, 1) for u in range(20)], size=60)
    new = window([(u, u, 2) for u in range(20, 40)], size=60)
    found = differences(old, new, max_users=2)["item_popularity"]
    assert found.p >= 1 / 6  # two of four users can be chosen in six ways


def test_categories_and_truncation_are_compared_where_they_are_known():
    # Items 1 and 2 are of category 0, items 3 and 4 of category 1; production reads 2 items.
    old = window([(1, 1, 1), (1, 2, 3), (1, 3, 2), (2, 4, 1)])
    new = window([(3, 5, 3), (3, 6, 4), (4, 7, 4), (4, 8, 3)])
    assert {"category_mix", "truncated_share"}.isdisjoint(differences(old, new))
    categories = np.array([0, 0, 0, 1, 1])
    found = differences(old, new, categories=categories, max_length=2)
    truncated = found["truncated_share"]
    assert (truncated.reference, truncated.current) == (1 / 2, 0)
    # Shares of category 1: a quarter, then all.
    middle = (1 / 4 + 1) / 2

    def entropy(share):
        return -sum(x * log2(x) for x in (share, 1 - share) if x)

    expected = entropy(middle) - (entropy(1 / 4) + entropy(1)) / 2
    assert found["category_mix"].current == pytest.approx(expected)


def test_days_are_compared_with_their_own_weekday_when_there_are_weeks():
    # Ten interactions on each of seven weekdays but one, which has none; the second window begins on
    # another weekday and holds the quiet day three times where the first holds it twice.
    day = 86_400
    rows = [(1, at * day + i * 3600, 1) for at in range(37) if at % 7 != 3 for i in range(10)]
    old = [row for row in rows if row[1] < 17 * day]
    new = [row for row in rows if row[1] >= 17 * day]
    found = differences(window(old), replace(window(new), start=len(old)))
    volume = found["interactions_per_day"]
    assert volume.p > 0.5
    assert volume.effect == pytest.approx(0, abs=0.01)  # an interaction a bin lies on its edge


def test_a_gap_between_the_windows_is_no_fall_of_the_volume():
    day = 86_400
    old = window([(1, at * day // 2, 1) for at in range(41)])
    new = replace(window([(1, (90 + at / 2) * day, 1) for at in range(41)]), start=500)
    assert differences(old, new)["interactions_per_day"].effect == pytest.approx(0, abs=0.06)
