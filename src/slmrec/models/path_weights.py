"""Weights of paths of one hop and two through a graph, for rows of scores.

scipy's product makes a sparse array, in two passes and with a list of what each row has reached. Where
rows are wanted dense this takes a fraction of its time, by touching what a path reaches and writing the
rest once. A row is summed in an order of its own: its bits depend neither on the rows beside it nor on
the number of processors.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]

from slmrec.machine_code import compiled

Floats = NDArray[np.float32]
Int64 = NDArray[np.int64]
Rows = tuple[Int64, NDArray[np.int32], Floats]
"""Of a CSR matrix: where each row begins, and the places and values of all."""

_TOGETHER = 16
"""Rows that are multiplied with one of a dense graph while that is in the processor's cache."""


@dataclass(frozen=True)
class TransitionGraph:
    """What leads where, and how what is reached is weighed."""

    edges: Any
    """CSR float32 [items, items]."""
    dense: Floats
    """The same [items, items] where so much is linked that this is faster; else [0, 0]."""
    second: Floats
    """[items]: weight of what follows an item that was reached, for each of the item's own."""
    order: Floats
    """[items]: an item's place among those that no path reaches, 0 up to less than 1."""


@dataclass(frozen=True)
class Taken:
    """Stretches whose transitions do not count for some rows.

    A key is a different item of a stretch; the keys of row r are `first[r]` to `after[r]`.
    """

    first: Int64
    after: Int64
    entries: Any
    """CSR [rows, keys]: with which weight each row enters at a key."""
    own: Any
    """CSR [keys, items]: the transitions from the key inside its stretch."""
    item: Int64
    """[keys]: which item each is; `second` and `order` as in `TransitionGraph`, without the stretch."""
    second: Floats
    order: Floats

    @classmethod
    def nothing(cls, rows: int, items: int) -> "Taken":
        """Nothing, for any of the rows."""
        at, no_keys, empty = (
            np.zeros(rows, np.int64),
            np.zeros(0, np.int64),
            np.zeros(0, np.float32),
        )
        entries = sparse.csr_matrix((rows, 0), dtype=np.float32)
        own = sparse.csr_matrix((0, items), dtype=np.float32)
        return cls(at, at, entries, own, no_keys, empty, empty)


def path_scores(graph: TransitionGraph, entries: Any, taken: Taken, nothing: np.float32) -> Floats:
    """Scores of all items for each row: the weight of its paths, and then what none reaches.

    `entries` CSR float32 [rows, items]: with which weight a row enters at its items. A weight below
    `nothing`, a positive number, is none. An item without weight gets its `order` times the lowest
    weight in its row, which counts as 1 at most. Returns float32 [rows, items].
    """
    scores: Floats = np.empty(entries.shape, np.float32)
    _path_scores(
        scores,
        _rows(entries),
        _rows(graph.edges),
        graph.dense,
        graph.second,
        graph.order,
        taken.first,
        taken.after,
        _rows(taken.entries),
        _rows(taken.own),
        taken.item,
        taken.second,
        taken.order,
        nothing,
    )
    return scores


def _rows(matrix: Any) -> Rows:
    # One kind of numbers, for which the loops are compiled once.
    places = matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)
    return *places, matrix.data.astype(np.float32, copy=False)


@compiled
def add_dense_product(total: Floats, weights: Floats, dense: Floats) -> None:
    """Add `weights @ dense` to `total`, each row in the same order whatever stands beside it."""
    # Four items in one pass over a row of the total, which is what takes the time.
    whole = len(dense) // 4 * 4
    for low in range(0, len(weights), _TOGETHER):
        high = min(low + _TOGETHER, len(weights))
        for item in range(0, whole, 4):
            a, b, c, d = dense[item], dense[item + 1], dense[item + 2], dense[item + 3]
            for row in range(low, high):
                entering, found = weights[row], total[row]
                at_a, at_b = entering[item], entering[item + 1]
                at_c, at_d = entering[item + 2], entering[item + 3]
                for other in range(len(found)):
                    found[other] += (at_a * a[other] + at_b * b[other]) + (
                        at_c * c[other] + at_d * d[other]
                    )
        for item in range(whole, len(dense)):
            for row in range(low, high):
                total[row] += weights[row, item] * dense[item]


@compiled
def _enter(
    row: int,
    weight: Floats,
    going: Floats,
    seen: NDArray[np.bool_],
    reached: Int64,
    entries: Rows,
    edges: Rows,
    second: Floats,
    keys: tuple[int, int],
    taken: Rows,
    own: Rows,
    own_item: Int64,
    own_second: Floats,
    nothing: np.float32,
) -> int:
    """The first hop of a row: what is reached, how it weighs, and with which weight that goes on."""
    count = 0
    for place in range(entries[0][row], entries[0][row + 1]):
        item, entering = entries[1][place], entries[2][place]
        for edge in range(edges[0][item], edges[0][item + 1]):
            other = edges[1][edge]
            if not seen[other]:
                seen[other] = True
                reached[count] = other
                count += 1
            weight[other] += entering * edges[2][edge]
    for place in range(taken[0][row], taken[0][row + 1]):
        key, entering = taken[1][place], taken[2][place]
        for edge in range(own[0][key], own[0][key + 1]):
            weight[own[1][edge]] -= entering * own[2][edge]
    for place in range(count):
        item = reached[place]
        seen[item] = False
        if weight[item] < nothing:  # what rounding left where all was taken away
            weight[item] = 0
        going[item] = weight[item] * second[item]
    for key in range(keys[0], keys[1]):
        going[own_item[key]] = weight[own_item[key]] * own_second[key]
    return count


@compiled
def _follow(
    weight: Floats,
    going: Floats,
    seen: NDArray[np.bool_],
    reached: Int64,
    edges: Rows,
    found: Floats,
    touched: Int64,
) -> int:
    """Both hops of a row: what has a weight, each once."""
    many = 0
    for place in range(len(reached)):
        item = reached[place]
        if weight[item] == 0:
            continue
        if not seen[item]:
            seen[item] = True
            touched[many] = item
            many += 1
        found[item] += weight[item]
        for edge in range(edges[0][item], edges[0][item + 1]):
            other = edges[1][edge]
            if not seen[other]:
                seen[other] = True
                touched[many] = other
                many += 1
            found[other] += going[item] * edges[2][edge]
    for place in range(many):
        seen[touched[place]] = False
    return many


@compiled
def _finish(
    scores: Floats,
    found: Floats,
    touched: Int64,
    order: Floats,
    keys: tuple[int, int],
    own_item: Int64,
    own_order: Floats,
    nothing: np.float32,
) -> None:
    """Write a row: items in their order below the lowest weight, then what has a weight."""
    least = np.float32(1)
    for place in range(len(touched)):
        weight = found[touched[place]]
        if weight >= nothing:
            least = min(least, weight)
    for item in range(len(scores)):
        scores[item] = least * order[item]
    for key in range(keys[0], keys[1]):
        scores[own_item[key]] = least * own_order[key]
    for place in range(len(touched)):
        item = touched[place]
        if found[item] >= nothing:
            scores[item] = found[item]


@compiled
def _path_scores(
    scores: Floats,
    entries: Rows,
    edges: Rows,
    dense: Floats,
    second: Floats,
    order: Floats,
    first: Int64,
    after: Int64,
    taken: Rows,
    own: Rows,
    own_item: Int64,
    own_second: Floats,
    own_order: Floats,
    nothing: np.float32,
) -> None:
    rows, items = scores.shape
    together = _TOGETHER if len(dense) else 1
    weight = np.zeros((together, items), np.float32)
    going = np.zeros((together, items), np.float32)
    found = np.zeros((together, items), np.float32)
    seen = np.zeros(items, np.bool_)
    reached = np.empty((together, items), np.int64)
    counts = np.zeros(together, np.int64)
    touched = np.arange(items)
    for low in range(0, rows, together):
        high = min(low + together, rows)
        for row in range(low, high):
            at = row - low
            counts[at] = _enter(
                row,
                weight[at],
                going[at],
                seen,
                reached[at],
                entries,
                edges,
                second,
                (first[row], after[row]),
                taken,
                own,
                own_item,
                own_second,
                nothing,
            )
        many = items
        if len(dense):
            found[:] = weight
            add_dense_product(found[: high - low], going[: high - low], dense)
        else:
            many = _follow(
                weight[0], going[0], seen, reached[0, : counts[0]], edges, found[0], touched
            )
        for row in range(low, high):
            at = row - low
            keys = (first[row], after[row])
            for key in range(keys[0], keys[1]):
                weighs = going[at, own_item[key]]
                for edge in range(own[0][key], own[0][key + 1]):
                    found[at, own[1][edge]] -= weighs * own[2][edge]
            _finish(
                scores[row], found[at], touched[:many], order, keys, own_item, own_order, nothing
            )
            for place in range(counts[at]):
                weight[at, reached[at, place]] = 0
                going[at, reached[at, place]] = 0
            for place in range(many):
                found[at, touched[place]] = 0
