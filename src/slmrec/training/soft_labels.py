"""What else could have come next: labels from a counted recommender for every training position."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from slmrec.data.ordering import chunks_of_groups
from slmrec.data.sequences import Int64, Sequences
from slmrec.models.ensemble import evidence
from slmrec.models.transitions import Transitions
from slmrec.progress import Progress
from slmrec.training.batches import Batch, training_windows
from slmrec.training.losses import SoftTargets

SCORE_BYTES = 64 * 2**20
"""Scores of the catalogue that each thread holds at once."""


@dataclass(frozen=True)
class SoftLabels:
    """The likeliest items after each training position, and how likely they are."""

    items: NDArray[np.int32]
    """[positions, K]"""
    scores: NDArray[np.float16]
    """[positions, K]: logits, each less the best."""
    row: NDArray[np.int64]
    """[interactions]: the row of each read item, -1 where nothing was asked."""

    def of(self, batch: Batch) -> SoftTargets:
        """The labels of a batch's real positions."""
        rows = self.row[batch.source[batch.source >= 0].numpy()]
        device = batch.items.device
        return SoftTargets(
            torch.from_numpy(self.items[rows].astype(np.int64)).to(device),
            torch.from_numpy(self.scores[rows].astype(np.float32)).to(device),
            temperature=1.0,
        )


def held_out_labels(
    transitions: Transitions,
    sequences: Sequences,
    max_length: int,
    top_k: int,
    progress: Progress,
) -> SoftLabels:
    """What transitions say after every training position, each history judged without itself.

    The logits are the evidence for the `top_k` best items.
    """
    windows = training_windows(sequences, max_length)
    rows, top_k = windows.targets, min(top_k, sequences.item_count)
    items = np.empty((rows, top_k), np.int32)
    scores = np.empty((rows, top_k), np.float16)
    row = np.full(sequences.interactions, -1, np.int64)
    offsets = np.concatenate([[0], np.cumsum(windows.length)])
    rows_at_once = max(SCORE_BYTES // (4 * (sequences.item_count + 1)), 1)

    def label(bounds: tuple[int, int]) -> int:
        first, after = bounds
        start, length = windows.start[first:after], windows.length[first:after]
        place = slice(int(offsets[first]), int(offsets[after]))
        stretch, edges = _stretches(start, length)
        found = torch.from_numpy(
            evidence(transitions.held_out_scores(sequences.items[stretch], edges))
        )
        found[:, 0] = -torch.inf
        best = found.topk(top_k, dim=1)
        items[place] = best.indices.int().numpy()
        scores[place] = (best.values - best.values[:, :1]).half().numpy()
        read = np.delete(stretch, edges[1:] - 1)  # the last of each is only a target
        row[read] = np.arange(place.start, place.stop)
        return place.stop

    # Paths take one core each and leave the interpreter to others meanwhile.
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for done in threads.map(label, chunks_of_groups(offsets, rows_at_once)):
            progress.update(done, rows, "soft labels")
    return SoftLabels(items, scores, row)


def _stretches(start: Int64, length: Int64) -> tuple[Int64, Int64]:
    """Positions of windows with their last targets, one after another, and the bounds of each."""
    count = length + 1
    bounds = np.concatenate([[0], np.cumsum(count)])
    inside = np.arange(bounds[-1]) - np.repeat(bounds[:-1], count)
    return inside + np.repeat(start, count), bounds
