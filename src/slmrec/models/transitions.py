"""What usually follows: a graph of item-to-item transitions, without any training.

A learned model that does not beat it has not earned its cost; on sparse logs that is a high bar
(arXiv 2605.07125). It is also a good teacher, provided that it does not look up the answer: what it
says about a history that it was counted from has to leave that history out (`held_out_scores`).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]

from slmrec.data.sequences import Sequences
from slmrec.models.path_weights import Taken, TransitionGraph, add_dense_product, path_scores
from slmrec.models.popularity import training_counts
from slmrec.models.scorer import History

Floats = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

# Chosen on the validation split of Amazon Toys (5-core, leave-one-out).
REACH = 5
"""Positions between two items that still count as a transition; its weight is 1 / distance."""
BACKWARD = 0.25
"""Weight of a transition against the order of time, relative to one along it."""
RECENT = 5
"""Newest items of a history that are looked up."""
DECAY = 0.6
"""Weight of each item relative to the one after it."""
DAMPING = 0.25
"""Exponent by which an item's number of transitions lowers the weight of what follows it."""
SECOND_HOP = 2.0
"""Weight of what follows that which follows, relative to what follows directly."""


_PATH_BYTES = 256 * 2**20
"""Paths that are held at once, were every item reachable from every other."""
DENSE_SHARE = 0.05
"""Of all pairs of items, from which on a graph is multiplied as a dense one, which its size does not
slow down: of 2,000 items, 9 of 10 pairs linked, it took a thirtieth of the time."""
_DENSE_BYTES = 2**30
"""What a dense graph may take."""
_ANYTHING = np.finfo(np.float32).tiny
_NOTHING = np.float32(1e-5)
"""More than rounding leaves of a weight that was taken away, far less than the lightest path weighs."""


class Transitions:
    """Scores an item by how often it stood near the newest items of the history.

    The graph holds, for items a before b at most `REACH` positions apart in a training history,
    1 / distance from a to b and `BACKWARD` times that from b to a. A history enters it at its
    `RECENT` newest items and goes one hop and a second one. Items that no path reaches come after
    all that are reached, by popularity.
    """

    name = "transitions"
    parameters_backbone = 0

    def __init__(self, graph: Any, counts: Int64) -> None:
        self._graph = graph
        self._counts = counts
        self._strength: Float64 = np.asarray(graph.sum(axis=1), dtype=np.float64).ravel()
        self._popularity: Floats = (counts / (counts.max() + 1)).astype(np.float32)
        self._second: Floats = (SECOND_HOP / _at_least_one_path(self._strength)).astype(np.float32)
        self.parameters_total = int(graph.nnz) + len(counts) - 1
        self.bytes = sum(
            part.nbytes for part in (graph.data, graph.indices, graph.indptr, self._popularity)
        )

    @cached_property
    def _paths(self) -> TransitionGraph:
        pairs = len(self._counts) ** 2
        dense = self._graph.nnz >= DENSE_SHARE * pairs and 4 * pairs <= _DENSE_BYTES
        whole = self._graph.toarray() if dense else np.zeros((0, 0), np.float32)
        return TransitionGraph(self._graph, whole, self._second, self._popularity)

    @classmethod
    def fit(cls, sequences: Sequences) -> Self:
        """Count transitions within the training part of each history."""
        items = sequences.train_items()
        lengths = sequences.train_end - sequences.offsets[:-1]
        before, after, weight = _edges(np.repeat(np.arange(sequences.users), lengths))
        size = sequences.item_count + 1
        graph = sparse.csr_matrix((weight, (items[before], items[after])), shape=(size, size))
        return cls(graph, training_counts(sequences))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from what `arrays` gave."""
        size = len(arrays["counts"])
        parts = (arrays["weights"], arrays["after"], arrays["offsets"])
        return cls(sparse.csr_matrix(parts, shape=(size, size)), arrays["counts"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is counted: the graph in compressed rows, and the items' counts."""
        return {
            "weights": self._graph.data,
            "after": self._graph.indices,
            "offsets": self._graph.indptr,
            "counts": self._counts,
        }

    def strongest(self, most: int) -> tuple[Int32, Floats]:
        """What each item leads to by one hop and two: the `most` heaviest items, and their weights.

        Returns int32 and float32 [items + 1, most], heaviest first, 0 where an item leads to fewer. A
        history's scores are the sum of its newest items' rows, each times `DECAY` to its age.
        """
        size = self._graph.shape[0]
        neighbours = np.zeros((size, most), np.int32)
        weights = np.zeros((size, most), np.float32)
        entering = (_at_least_one_path(self._strength) ** -DAMPING).astype(np.float32)
        rows = max(_PATH_BYTES // (8 * size), 1)
        for start in range(0, size, rows):
            piece = slice(start, start + rows)
            first = (sparse.diags_array(entering[piece]) @ self._graph[piece]).tocsr()
            for row, (item, weight) in enumerate(self._followed(first)):
                best = np.lexsort((item, -weight))[:most]
                neighbours[start + row, : len(best)] = item[best]
                weights[start + row, : len(best)] = weight[best]
        return neighbours, weights

    def _followed(self, first: Any) -> Iterator[tuple[Int64, Floats]]:
        """What rows reach that have reached `first`: items of each, and their weights."""
        going_on = first @ sparse.diags_array(self._second)
        if len(self._paths.dense):
            paths = first.toarray()
            add_dense_product(paths, going_on.toarray(), self._paths.dense)
            for row in paths:
                items = np.flatnonzero(row)
                yield items, row[items]
        else:
            found = (first + going_on @ self._graph).tocsr()
            for low, high in itertools.pairwise(found.indptr):
                yield found.indices[low:high], found.data[low:high]

    def scores(self, histories: Sequence[History]) -> Floats:
        """Weight of all paths from the newest items: float32 [histories, items + 1]."""
        recent = [history[-RECENT:][::-1] for history in histories]
        rows = np.repeat(np.arange(len(recent)), [len(items) for items in recent])
        age = np.concatenate([np.arange(len(items)) for items in recent] or [np.empty(0, np.int64)])
        items = np.concatenate([*recent, np.empty(0, np.int32)])
        entering = DECAY**age * _at_least_one_path(self._strength)[items] ** -DAMPING
        shape = (len(recent), self._graph.shape[0])
        entries = sparse.csr_matrix((entering.astype(np.float32), (rows, items)), shape=shape)
        return path_scores(self._paths, entries, Taken.nothing(*shape), _ANYTHING)

    def held_out_scores(self, items: Int32, offsets: Int64) -> Floats:
        """Scores after each item of training stretches but their last, each judged without itself.

        Stretch s is `items[offsets[s]:offsets[s + 1]]`, all or a part of a training history that the
        graph was counted from. The rows are what `scores` would say of the stretch's beginnings had
        its transitions never been counted: float32 [interactions - stretches, items + 1].
        """
        size = self._graph.shape[0]
        lengths = np.diff(offsets)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        # Each different item of a stretch: `own` holds the transitions from it inside the stretch.
        keys, place = np.unique(owner * size + items, return_inverse=True)
        item, stretch = keys % size, keys // size
        before, after, weight = _edges(owner)
        own = sparse.csr_matrix((weight, (place[before], items[after])), shape=(len(keys), size))
        strength = self._strength[item] - np.asarray(own.sum(axis=1), dtype=np.float64).ravel()
        strength = _at_least_one_path(np.where(strength > _NOTHING, strength, 0.0))

        last = np.zeros(len(items), np.bool_)
        last[offsets[1:] - 1] = True
        newest = np.flatnonzero(~last)  # [rows], the place after which a row is asked
        back = newest[:, None] - np.arange(RECENT)
        inside = back >= offsets[owner[newest]][:, None]
        rows, age = np.nonzero(inside)
        entered = place[back[inside]]
        entering = (DECAY**age * strength[entered] ** -DAMPING).astype(np.float32)
        by_item = sparse.csr_matrix((entering, (rows, item[entered])), shape=(len(newest), size))
        by_key = sparse.csr_matrix((entering, (rows, entered)), shape=(len(newest), len(keys)))
        asked = owner[newest]
        others = self._counts[item] - np.bincount(place, minlength=len(keys))
        taken = Taken(
            np.searchsorted(stretch, asked, side="left"),
            np.searchsorted(stretch, asked, side="right"),
            by_key,
            own,
            item,
            (SECOND_HOP / strength).astype(np.float32),
            (others / (self._counts.max() + 1)).astype(np.float32),
        )
        return path_scores(self._paths, by_item, taken, _NOTHING)


def _edges(owner: Int64) -> tuple[Int64, Int64, Floats]:
    """The transitions between places at most `REACH` apart that have the same owner.

    `owner` int [places], not falling. Returns (place from, place to, weight).
    """
    before: list[Int64] = []
    after: list[Int64] = []
    weight: list[Floats] = []
    for distance in range(1, REACH + 1):
        earlier = np.flatnonzero(owner[distance:] == owner[:-distance])
        later = earlier + distance
        before += [earlier, later]
        after += [later, earlier]
        weight += [
            np.full(len(earlier), 1 / distance, dtype=np.float32),
            np.full(len(earlier), BACKWARD / distance, dtype=np.float32),
        ]
    return np.concatenate(before), np.concatenate(after), np.concatenate(weight)


def _at_least_one_path(strength: Float64) -> Float64:
    return np.where(strength > 0, strength, 1.0)
