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

    def __init__(self, counts: NDArray[np.number]) -> None:
        self.counts: Floats = counts.astype(np.float32)
        self.parameters_total = len(counts) - 1
        self.bytes = self.counts.nbytes

    @classmethod
    def fit(cls, sequences: Sequences, weights: Floats | None = None) -> "Popularity":
        """Count training interactions, or add up their `weights` (float32 [interactions])."""
        if weights is None:
            return cls(training_counts(sequences))
        mine = weights[sequences.split_mask("train")]
        size = sequences.item_count + 1
        return cls(np.bincount(sequences.train_items(), weights=mine, minlength=size))

    def scores(self, histories: Sequence[History]) -> Floats:
        """Training counts: float32 [histories, items + 1]."""
        return np.tile(self.counts, (len(histories), 1))


def training_counts(sequences: Sequences) -> NDArray[np.int64]:
    """Training interactions of each item: int64 [items + 1], 0 for padding."""
    counts = np.bincount(sequences.train_items(), minlength=sequences.item_count + 1)
    counts[PADDING] = 0
    return counts
