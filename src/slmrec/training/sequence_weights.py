"""What a training target counts by its place in the history."""

import numpy as np
from numpy.typing import NDArray

from slmrec.config import SequenceWeights
from slmrec.data.sequences import Sequences

MOST_HALVINGS = 30.0
"""Of each kind: a weight is never quite zero, since a batch may hold nothing but small ones."""


def sequence_weights(sequences: Sequences, settings: SequenceWeights) -> NDArray[np.float32] | None:
    """What each interaction counts as a training target: float32 [interactions]; none for all alike.

    Half as much for every `position_half_life` interactions that its user's training history goes on
    after it, and for every `gap_half_life_days` between the interaction before it and itself. The
    mean over the training targets is 1, which are all training interactions but each user's first.
    """
    if settings == SequenceWeights():
        return None
    halvings = np.zeros(sequences.interactions)
    if settings.position_half_life is not None:
        last = np.repeat(sequences.train_end - 1, np.diff(sequences.offsets))
        after = np.maximum(last - np.arange(sequences.interactions), 0)
        halvings += np.minimum(after / settings.position_half_life, MOST_HALVINGS)
    if settings.gap_half_life_days is not None:
        times = sequences.timestamps.astype(np.float64)
        gap = np.maximum(np.diff(times, prepend=times[:1]), 0.0) / 86_400
        halvings += np.minimum(gap / settings.gap_half_life_days, MOST_HALVINGS)
    target = sequences.split_mask("train")
    target[sequences.offsets[:-1][np.diff(sequences.offsets) > 0]] = False
    weights = np.exp2(-halvings)
    return (weights / weights[target].mean()).astype(np.float32)
