"""What is popular: the recommender that any other has to beat."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import PADDING, Sequences
from slmrec.models.scorer import History

Floats = NDArray[np.float32]


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
        return cls(training_counts(sequences))

    def scores(self, histories: Sequence[History]) -> Floats:
        """Training counts: float32 [histories, items + 1]."""
        return np.tile(self._counts, (len(histories), 1))


def training_counts(sequences: Sequences) -> NDArray[np.int64]:
    """Training interactions of each item: int64 [items + 1], 0 for padding."""
    counts = np.bincount(sequences.train_items(), minlength=sequences.item_count + 1)
    counts[PADDING] = 0
    return counts
