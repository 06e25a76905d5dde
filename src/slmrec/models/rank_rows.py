"""Ranking and listing rows of scores in machine code, while they are in the processor's cache.

To be ranked scores are compared as integers in the same order, in which -0 is 0 and what is left out
lies below every number, a score of -inf included. So ties are exact, and NaN cannot hide. Lists that
are served are picked from the numbers themselves, in fewer passes: there an item with a score of -inf
is none.
"""

from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmrec.machine_code import compiled

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Numbers = NDArray[Any]

_OUT = np.int32(-(2**31))
"""The key of what is left out; as bits it is the number -0."""
_MAGNITUDE = np.int32(2**31 - 1)
_INFINITY = np.int32(0x7F800000)


def rank_rows(
    scores: Float32,
    left_out: Int32,
    starts: Int64,
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
    groups = _groups(columns, k)
    keys, maxima, best_keys, best_items = (
        np.empty(size, dtype=np.int32) for size in (columns, groups, k, k)
    )
    bits = scores.view(np.int32)
    return int(
        _rank_rows(
            bits, left_out, starts, targets, ranks, lists, keys, maxima, best_keys, best_items
        )
    )


def list_rows(scores: Float32, left_out: Int32, starts: Int64, items: Int64, best: Float32) -> int:
    """Fill in the best items of each row and their scores.

    - `scores`, `left_out` and `starts` as `rank_rows` takes them; scores of what is left out are
      overwritten
    - `items` int64 and `best` float32 [rows, k], best first, ties to the smaller index, are written to;
      0 and -inf where no more items were left, of which one with a score of -inf is none

    Returns -1, or the first row in which an item's score is NaN; it and later rows are then not listed.
    Shapes and items are the caller's to check. Several threads may call this at once.
    """
    columns, k = scores.shape[1], items.shape[1]
    maxima = np.empty(_groups(columns, k), dtype=np.float32)
    best_items = np.empty(k, dtype=np.int32)
    return int(_list_rows(scores, left_out, starts, items, best, maxima, best_items))


def _groups(columns: int, k: int) -> int:
    """In how many groups the best of a row are looked for."""
    return min(columns, max(1, 4 * k, isqrt(4 * k * columns)))


@compiled
def _insert(keys: Numbers, items: Int32, count: int, key: Any, item: int) -> int:
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
def _best(keys: Numbers, lowest: Any, maxima: Numbers, best_keys: Numbers, items: Int32) -> int:
    """Find the best of a row, those above `lowest`; return how many there are."""
    columns, groups, k = len(keys), len(maxima), len(best_keys)
    # The k-th highest of the maxima of groups of items is at most the k-th highest score.
    maxima[:] = keys[:groups]
    for start in range(groups, columns, groups):
        strip = keys[start : start + groups]
        for group in range(len(strip)):
            maxima[group] = strip[group] if strip[group] > maxima[group] else maxima[group]
    count = 0
    for group in range(groups):
        if k and maxima[group] > lowest:
            count = _insert(best_keys, items, count, maxima[group], group)
    bounded = k > 0 and count == k
    bound = best_keys[k - 1] if bounded else lowest
    reached = np.int32(0)
    for group in range(groups):
        reached = np.int32(reached + (maxima[group] >= bound))
    # Where many groups are tied, those items come last that are at the bound, in their order.
    tied = bounded and reached > 2 * k
    count = 0
    for group in range(groups):
        if k and maxima[group] >= bound:
            for item in range(group, columns, groups):
                key = keys[item]
                if key > bound or (bounded and not tied and key == bound):
                    count = _insert(best_keys, items, count, key, item)
    item = 1
    while tied and count < k:
        if keys[item] == bound:
            items[count] = item
            count += 1
        item += 1
    return count


@compiled
def _rank_rows(
    bits: Int32,
    left_out: Int32,
    starts: Int64,
    targets: Int32,
    ranks: Int32,
    lists: Int32,
    keys: Int32,
    maxima: Int32,
    best_keys: Int32,
    best_items: Int32,
) -> int:
    # Plain loops over whole arrays, sums kept in 32 bits: so they become vector instructions.
    columns = len(keys)
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

        count = _best(keys, _OUT, maxima, best_keys, best_items)
        for place in range(lists.shape[1]):
            lists[row, place] = best_items[place] if place < count else 0
    return -1


@compiled
def _list_rows(
    scores: Float32,
    left_out: Int32,
    starts: Int64,
    items: Int64,
    best: Float32,
    maxima: Float32,
    best_items: Int32,
) -> int:
    for row in range(len(scores)):
        numbers = scores[row]
        broken = np.int32(0)
        for item in range(1, len(numbers)):
            broken = np.int32(broken + (numbers[item] != numbers[item]))
        if broken:
            return row
        numbers[0] = -np.inf
        for place in range(starts[row], starts[row + 1]):
            numbers[left_out[place]] = -np.inf
        count = _best(numbers, np.float32(-np.inf), maxima, best[row], best_items)
        for place in range(items.shape[1]):
            items[row, place] = best_items[place] if place < count else 0
            if place >= count:
                best[row, place] = -np.inf
    return -1
