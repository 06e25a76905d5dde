"""Weights of paths through a sparse graph, written straight into dense rows.

scipy's product makes a sparse array, in two passes and with a list of what each row has reached; where
rows reach most items, and are wanted dense, this took a fifth of its time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmrec.machine_code import compiled

Floats = NDArray[np.float32]


def add_product(dense: Floats, weights: Any, graph: Any) -> None:
    """Add `weights @ graph` to a dense array; both are CSR in float32.

    `weights` [rows, items], `graph` [items, items], `dense` float32 [rows, items], C-contiguous.
    """
    _add_product(
        dense,
        *(weights.indptr, weights.indices, weights.data),
        *(graph.indptr, graph.indices, graph.data),
    )


def add_onward(dense: Floats, weights: Floats, graph: Any) -> None:
    """Add `weights @ graph` to a dense array; `weights` float32 [rows, items] are mostly zeros."""
    _add_onward(dense, weights, graph.indptr, graph.indices, graph.data)


def fill_unreached(weights: Floats, order: Floats, nothing: np.float32) -> Floats:
    """Put what has no weight behind all that has, in the array that is given.

    `weights` float32 [rows, items], of which those below `nothing` are none; `order` float32 [items], 0
    up to less than 1. An item without weight gets its `order` times the lowest weight in its row, which
    counts as 1 at most. Returns those lowest weights, float32 [rows].
    """
    lowest = np.empty(len(weights), np.float32)
    _fill_unreached(weights, order, nothing, lowest)
    return lowest


@compiled
def _add_product(
    dense: Floats,
    offsets: NDArray[Any],
    through: NDArray[Any],
    entering: Floats,
    graph_offsets: NDArray[Any],
    after: NDArray[Any],
    going_on: Floats,
) -> None:
    for row in range(len(dense)):
        reached = dense[row]
        for place in range(offsets[row], offsets[row + 1]):
            item, weight = through[place], entering[place]
            for edge in range(graph_offsets[item], graph_offsets[item + 1]):
                reached[after[edge]] += weight * going_on[edge]


@compiled
def _add_onward(
    dense: Floats,
    weights: Floats,
    graph_offsets: NDArray[Any],
    after: NDArray[Any],
    going_on: Floats,
) -> None:
    for row in range(len(dense)):
        reached, entering = dense[row], weights[row]
        for item in range(len(entering)):
            weight = entering[item]
            if weight != 0:
                for edge in range(graph_offsets[item], graph_offsets[item + 1]):
                    reached[after[edge]] += weight * going_on[edge]


@compiled
def _fill_unreached(weights: Floats, order: Floats, nothing: np.float32, lowest: Floats) -> None:
    for row in range(len(weights)):
        reached = weights[row]
        least = np.float32(1)
        for item in range(len(reached)):
            weight = reached[item]
            least = min(least, weight if weight >= nothing else np.float32(1))
        for item in range(len(reached)):
            if reached[item] < nothing:
                reached[item] = least * order[item]
        lowest[row] = least
