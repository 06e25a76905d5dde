"""Two recommenders without any training: what is popular, and what usually follows.

Both count training interactions only. A learned model that does not beat `Transitions` has not
earned its cost; on sparse logs that is a high bar (arXiv 2605.07125).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]

from slmrec.data.sequences import PADDING, Sequences
from slmrec.models.scorer import History

Floats = NDArray[np.float32]

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


class Popularity:
    """Scores an item by its number of training interactions, whatever the history."""

    name = "popularity"
    parameters_backbone = 0

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self._counts: Floats = counts.astype(np.float32)
        self.parameters_total = len(counts) - 1
        self.bytes = self._counts.nbytes

    @classmethod
    def fit(cls, sequences: Sequences) -> "Popularity":
        """Count training interactions."""
        return cls(_training_counts(sequences))

    def scores(self, histories: Sequence[History]) -> Floats:
        """Training counts: float32 [histories, items + 1]."""
        return np.tile(self._counts, (len(histories), 1))


class Transitions:
    """Scores an item by how often it stood near the newest items of the history.

    The graph holds, for items a before b at most `REACH` positions apart in a training history,
    1 / distance from a to b and `BACKWARD` times that from b to a. A history enters it at its
    `RECENT` newest items and goes one hop and a second one. Items that no path reaches come after
    all that are reached, by popularity.
    """

    name = "transitions"
    parameters_backbone = 0

    def __init__(self, graph: Any, counts: NDArray[np.int64]) -> None:
        self._graph = graph
        strength = np.asarray(graph.sum(axis=1), dtype=np.float64).ravel()
        strength[strength == 0] = 1.0
        self._first_hop: Floats = (strength**-DAMPING).astype(np.float32)
        # One product then gives the first hop and the second one on top of it.
        self._onward = (
            sparse.identity(len(counts), dtype=np.float32, format="csr")
            + sparse.diags_array((SECOND_HOP / strength).astype(np.float32)) @ graph
        ).tocsr()
        self._popularity: Floats = (counts / (counts.max() + 1)).astype(np.float32)
        self.parameters_total = int(graph.nnz) + len(counts) - 1
        self.bytes = sum(
            part.nbytes for part in (graph.data, graph.indices, graph.indptr, self._popularity)
        )

    @classmethod
    def fit(cls, sequences: Sequences) -> "Transitions":
        """Count transitions within the training part of each history."""
        items = sequences.train_items()
        user = np.repeat(np.arange(sequences.users), sequences.train_end - sequences.offsets[:-1])
        before: list[NDArray[np.int32]] = []
        after: list[NDArray[np.int32]] = []
        weight: list[Floats] = []
        for distance in range(1, REACH + 1):
            same_user = user[distance:] == user[:-distance]
            earlier, later = items[:-distance][same_user], items[distance:][same_user]
            before += [earlier, later]
            after += [later, earlier]
            weight += [
                np.full(len(earlier), 1 / distance, dtype=np.float32),
                np.full(len(earlier), BACKWARD / distance, dtype=np.float32),
            ]
        size = sequences.item_count + 1
        edges = (np.concatenate(before), np.concatenate(after))
        graph = sparse.csr_matrix((np.concatenate(weight), edges), shape=(size, size))
        return cls(graph, _training_counts(sequences))

    def scores(self, histories: Sequence[History]) -> Floats:
        """Weight of all paths from the newest items: float32 [histories, items + 1]."""
        first = self._entries(histories).multiply(self._first_hop).tocsr() @ self._graph
        reached = first @ self._onward
        rows = np.repeat(np.arange(len(histories)), np.diff(reached.indptr))
        lowest = np.ones(len(histories), dtype=np.float32)
        np.minimum.at(lowest, rows, reached.data)
        scores: Floats = lowest[:, None] * self._popularity
        scores[rows, reached.indices] = reached.data
        return scores

    def _entries(self, histories: Sequence[History]) -> Any:
        recent = [history[-RECENT:][::-1] for history in histories]
        rows = np.repeat(np.arange(len(recent)), [len(items) for items in recent])
        age = np.concatenate([np.arange(len(items)) for items in recent] or [np.empty(0, np.int64)])
        items = np.concatenate([*recent, np.empty(0, np.int32)])
        weight = (DECAY**age).astype(np.float32)
        shape = (len(recent), self._graph.shape[0])
        return sparse.csr_matrix((weight, (rows, items)), shape=shape)


def _training_counts(sequences: Sequences) -> NDArray[np.int64]:
    counts = np.bincount(sequences.train_items(), minlength=sequences.item_count + 1)
    counts[PADDING] = 0
    return counts
