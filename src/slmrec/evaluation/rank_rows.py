"""Ranking rows of scores in machine code: each score is read from memory once.

Scores are compared as integers in the same order, in which -0 is 0 and what is left out lies below
every number, a score of -inf included. So ties are exact, and NaN cannot hide.
"""

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from slmrec.machine_code import compiled

Int32 = NDArray[np.int32]

_OUT = np.int32(-(2**31))
"""The key of what is left out; as bits it is the number -0."""
_MAGNITUDE = np.int32(2**31 - 1)
_INFINITY = np.int32(0x7F800000)


def rank_rows(
    scores: NDArray[np.float32],
    left_out: Int32,
    starts: NDArray[np.int64],
    targets: Int32,
    ranks: Int32,
    lists: Int32,
) -> int:
    """Fill in the ranks of each row's target, and the list of its best items.

    - `scores` float32 [rows, items + 1], C-contiguous; column 0 is padding and may be anything
    - `left_out` int32 [any], of which row r leaves out `starts[r]` to `starts[r + 1]`; `starts`
      int64 [rows + 1]. The target is ranked even when it is among them
    - `targets` int32 [rows]; `ranks` int32 [rows], from 1, and `lists` int32 [rows, k], best first,
      ties to the smaller index, 0 where no more items were left, are written to

    Returns -1, or the first row in which an item's score is NaN; it and later rows are then not
    ranked. Shapes and items are the caller's to check. Several threads may call this at once.
    """
    columns, k = scores.shape[1], lists.shape[1]
    groups = min(columns, max(1, 4 * k, isqrt(4 * k * columns)))
    return int(
        _rank_rows(
            scores.view(np.int32),
            left_out,
            starts,
            targets,
            ranks,
            lists,
            np.empty(columns, dtype=np.int32),
            np.empty(groups, dtype=np.int32),
            np.empty(k, dtype=np.int32),
            np.empty(k, dtype=np.int32),
        )
    )


@compiled
def _insert(keys: Int32, items: Int32, count: int, key: np.int32, item: int) -> int:
    """Insert among the `count` best, which are in order; return how many there are then."""
    place = count
    if count == len(keys):
        place = count - 1
        if key < keys[place] or (key == keys[place] and item > items[place]):
            return count
        count = place
    while place > 0 and (
        keys[place - 1] < key or (keys[place - 1] == key and items[place - 1] > item)
    ):
        keys[place], items[place] = keys[place - 1], items[place - 1]
        place -= 1
    keys[place], items[place] = key, item
    return count + 1


@compiled
def _rank_rows(
    bits: Int32,
    left_out: Int32,
    starts: NDArray[np.int64],
    targets: Int32,
    ranks: Int32,
    lists: Int32,
    keys: Int32,
    maxima: Int32,
    best_keys: Int32,
    best_items: Int32,
) -> int:
    # Plain loops over whole arrays, sums kept in 32 bits: so they become vector instructions.
    columns, groups, k = len(keys), len(maxima), lists.shape[1]
    for row in range(len(bits)):
        scores = bits[row]
        broken = np.int32(0)
        for item in range(1, columns):
            number = scores[item]
            number = np.int32(0) if number == _OUT else number
            keys[item] = np.int32(number ^ np.int32((number >> 31) & _MAGNITUDE))
            broken = np.int32(broken + (np.int32(number & _MAGNITUDE) > _INFINITY))
        if broken:
            return row

        target = targets[row]
        own = keys[target]
        keys[0] = _OUT
        for place in range(starts[row], starts[row + 1]):
            keys[left_out[place]] = _OUT
        smaller_index = keys[:target]
        above = np.int32(0)
        for item in range(columns):
            above = np.int32(above + (keys[item] > own))
        for item in range(len(smaller_index)):
            above = np.int32(above + (smaller_index[item] == own))
        ranks[row] = 1 + above

        # The k-th highest of the maxima of groups of items is at most the k-th highest score.
        maxima[:] = keys[:groups]
        for start in range(groups, columns, groups):
            strip = keys[start : start + groups]
            for group in range(len(strip)):
                maxima[group] = max(maxima[group], strip[group])
        count = 0
        for group in range(groups):
            if k and maxima[group] > _OUT:
                count = _insert(best_keys, best_items, count, maxima[group], group)
        bound = best_keys[k - 1] if k and count == k else np.int32(_OUT + 1)
        reached = np.int32(0)
        for group in range(groups):
            reached = np.int32(reached + (maxima[group] >= bound))
        tied = reached > 2 * k
        # Where many groups are tied, those items come last that are at the bound, in their order.
        least = np.int32(bound + 1) if tied else bound
        count = 0
        for group in range(groups):
            if k and maxima[group] >= least:
                for item in range(group, columns, groups):
                    if keys[item] >= least:
                        count = _insert(best_keys, best_items, count, keys[item], item)
        item = 1
        while tied and count < k:
            if keys[item] == bound:
                best_items[count] = item
                count += 1
            item += 1
        for place in range(k):
            lists[row, place] = best_items[place] if place < count else 0
    return -1
