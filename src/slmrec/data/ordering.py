"""Sorting rows that are whole numbers, with one machine word a row where they fit into it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
CHUNK = 4_000_000
"""Rows looked at together where a pass over everything would double the memory."""
_WORD = 64
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def stable_order(keys: Sequence[NDArray[Any]]) -> Int64:
    """Give the order that sorts by the first key, then the second …, equal rows as they were.

    `keys` are whole numbers [rows] each, none negative. Keys and position share one 64-bit word
    when they fit, which sorts many times faster than an indirect sort.
    """
    rows = len(keys[0])
    if not rows:
        return np.zeros(0, np.int64)
    widths = [int(key.max()).bit_length() for key in keys]
    position = (rows - 1).bit_length()
    if sum(widths) > _WORD:
        return np.lexsort(tuple(reversed(keys)))
    word = np.zeros(rows, np.uint64)
    for key, width in zip(keys, widths, strict=True):
        word <<= np.uint64(width)
        word |= key.astype(np.uint64)
    if (word[1:] >= word[:-1]).all():
        return np.arange(rows)
    if sum(widths) + position > _WORD:
        return np.argsort(word, kind="stable")
    word <<= np.uint64(position)
    word |= np.arange(rows, dtype=np.uint64)
    word.sort()
    order: Int64 = (word & np.uint64((1 << position) - 1)).astype(np.int64)
    return order


def starts_of_runs(*columns: NDArray[Any]) -> Bool:
    """Tell, for rows in order, which differ from the row before in any column: bool [rows]."""
    first = np.ones(len(columns[0]), np.bool_)
    if len(first):
        first[1:] = False
        for column in columns:
            first[1:] |= column[1:] != column[:-1]
    return first


def refined(order: Int64, starts: Bool, keys: Sequence[NDArray[Any]]) -> Int64:
    """Sort rows inside runs of equal rows by further keys, the most telling first.

    `order` sorts the rows into runs, whose first rows `starts` marks; `keys` [rows] are in the
    rows' own numbering. Only rows that are still equal are looked at again.
    """
    order, starts = order.copy(), starts.copy()
    for key in keys:
        tied = ~starts
        tied[:-1] |= tied[1:]
        places = np.flatnonzero(tied)
        if not len(places):
            break
        run = np.cumsum(starts[places])
        rows = order[places]
        values = key[rows]
        inside = np.lexsort((values, run))
        order[places] = rows[inside]
        starts[places] = starts_of_runs(run, values[inside])
    return order


def scrambled(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each word (the finaliser of splitmix64): equal in, equal out, else unlike."""
    words = words ^ (words >> np.uint64(30))
    words *= _MIX[0]
    words ^= words >> np.uint64(27)
    words *= _MIX[1]
    words ^= words >> np.uint64(31)
    return words


def chunks(rows: int, size: int = CHUNK) -> Iterator[slice]:
    """Cut `rows` rows into slices of at most `size`."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def chunks_of_groups(offsets: Int64, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Cut groups into runs of whole groups that hold about `size` rows: (first, after last) group.

    `offsets` int64 [groups + 1] are the groups' first rows. A group larger than `size` comes alone.
    """
    groups = len(offsets) - 1
    first = 0
    while first < groups:
        after = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        after = min(max(after, first + 1), groups)
        yield first, after
        first = after
