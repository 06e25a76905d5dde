"""The best items of each row in a graph, found in groups.

To keep the ten best of 12,000 numbers costs more than to multiply for them, since each number is
compared with the ten. The largest of each group of neighbours is found far faster; the ten best are in
the ten groups whose largest are best.
"""

import numpy as np

from slmrec.compress.graph import Graph

_GROUPED = 1024
"""Items from which groups pay."""
_LISTED = 10
"""Items that are mostly asked for. Lists of any length are right; those of some hundreds take up to
twice as long as without groups."""


def group_size(columns: int) -> int:
    """Neighbours in a group, a power of two: about as many in ten groups as there are groups."""
    return int(2 ** round(np.log2(np.sqrt(columns / _LISTED))))


def add_best(graph: Graph, scores: str, columns: int, k: str, outputs: tuple[str, str]) -> None:
    """Add the `k` best of each row, best first, ties to the smaller place.

    `scores` float32 [batch, columns], `k` int64 [1], at most columns; `outputs` are the names of
    scores float32 and places int64 [batch, k].
    """
    if columns < _GROUPED:
        graph.top(scores, k, outputs)
        return
    size = group_size(columns)
    rows = graph.call("Unsqueeze", scores, graph.integers([1]))
    largest = graph.call(
        "MaxPool", rows, kernel_shape=[size], strides=[size], ceil_mode=1
    )  # [batch, 1, groups]
    largest = graph.call("Squeeze", largest, graph.integers([1]))
    groups = -(-columns // size)
    count = graph.call("Min", k, graph.integers([groups]))
    chosen = graph.top(largest, count)[1]
    # In the order of their places, so that ties go to the smaller one.
    chosen = graph.top(chosen, count, largest=0)[0]
    begins = graph.call("Mul", chosen, graph.number(size, np.int64))
    begins = graph.call("Unsqueeze", begins, graph.integers([2]))
    places = graph.call("Add", begins, graph.constant("inside", np.arange(size)))
    width = graph.call("Mul", count, graph.integers([size]))
    shape = graph.call("Concat", graph.integers([-1]), width, axis=0)
    places = graph.call("Reshape", places, shape)  # [batch, count · size]
    there = graph.call("Less", places, graph.number(columns, np.int64))
    places = graph.call("Min", places, graph.number(columns - 1, np.int64))
    found = graph.call("GatherElements", scores, places, axis=1)
    found = graph.call("Where", there, found, graph.number(-np.inf))
    _, at = graph.top(found, k, (outputs[0], f"{outputs[1]}.at"))
    graph.call("GatherElements", places, at, axis=1, output=outputs[1])
