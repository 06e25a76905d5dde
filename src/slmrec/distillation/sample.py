"""Training positions to measure on: the same ones every time."""

from collections.abc import Iterator

import numpy as np

from slmrec.data.sequences import Sequences
from slmrec.training.batches import (
    Batch,
    pack,
    packed_batches,
    scored_together,
    training_windows,
)

BATCH_TOKENS = 2048


def sampled_batches(sequences: Sequences, max_length: int, max_positions: int) -> Iterator[Batch]:
    """Packed batches of windows that are drawn until they hold `max_positions`, or of all windows."""
    rng = np.random.default_rng(0)
    windows = training_windows(sequences, max_length)
    drawn = rng.permutation(len(windows.length))
    before = np.cumsum(windows.length[drawn]) - windows.length[drawn]
    keep = np.zeros(len(drawn), dtype=np.bool_)
    keep[drawn[before < max_positions]] = True
    windows = windows.select(keep)
    packing = pack(windows.length, max_length, rng)
    tokens = scored_together(sequences.item_count, BATCH_TOKENS)
    yield from packed_batches(sequences, windows, packing, tokens)
