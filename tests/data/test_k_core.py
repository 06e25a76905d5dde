from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slmrec.data.k_core import k_core


def brute_force_core(pairs: list[tuple[int, int]], users: int, items: int) -> list[bool]:
    inside = [True] * len(pairs)
    while True:
        alive = [pair for pair, keep in zip(pairs, inside, strict=True) if keep]
        of_user = Counter(user for user, _ in alive)
        of_item = Counter(item for _, item in alive)
        for index, (user, item) in enumerate(pairs):
            if inside[index] and (of_user[user] < users or of_item[item] < items):
                inside[index] = False
                break
        else:
            return inside


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_the_core_is_the_brute_force_one_when_removal_goes_one_by_one(pairs, users, items):
    found = k_core(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), users, items)
    assert found.tolist() == brute_force_core(pairs, users, items)


def test_a_chain_falls_link_by_link_when_its_end_is_weak():
    # Users 0-1-2 and items 0-1-2 in a path: no end has two, so everything falls, one after another.
    users, items = np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 2])
    assert k_core(users, items, 2, 2).tolist() == [False] * 5
    # Closed to a ring, everybody has two of everything.
    users, items = np.append(users, 0), np.append(items, 2)
    assert k_core(users, items, 2, 2).tolist() == [True] * 6


def test_only_what_is_inside_counts_when_a_part_is_given():
    users, items = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1])
    inside = np.array([True, True, False, True, True])
    assert k_core(users, items, 2, 2, inside).tolist() == [True, True, False, True, True]


def test_nothing_is_inside_when_there_is_nothing():
    assert k_core(np.zeros(0, int), np.zeros(0, int), 2, 2).tolist() == []
