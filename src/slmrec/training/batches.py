"""Training windows, packed into rows so that almost no token is padding.

On interaction logs the mean history is 6 to 20 items, while a padded batch is as wide as its
longest; packing puts several histories into one row, and `packed_mask` keeps them apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.data.sequences import Int64, Sequences


@dataclass(frozen=True)
class Windows:
    """Stretches of training histories; window w reads `items[start[w]:start[w] + length[w]]`.

    The target of a position is the next one, so a window reads up to the last but one training item.
    """

    start: Int64
    length: Int64
    user: Int64

    @property
    def targets(self) -> int:
        """Training positions in all windows."""
        return int(self.length.sum())

    def select(self, keep: NDArray[np.bool_]) -> "Windows":
        """The windows where `keep` is true."""
        return Windows(self.start[keep], self.length[keep], self.user[keep])


@dataclass(frozen=True)
class Batch:
    """Rows of packed windows, each [rows, capacity], int64."""

    items: Tensor
    positions: Tensor
    """Place inside the window, from 0."""
    segments: Tensor
    """One number a window inside its row; 0 is padding."""
    targets: Tensor
    """The next item; 0 where there is none (padding)."""
    source: Tensor
    """Position of the read item in the sequences; -1 for padding."""
    weights: Tensor
    """float32: what the target counts in the cross-entropy; 0 for padding."""


def training_windows(sequences: Sequences, max_length: int) -> Windows:
    """Cut every training history into windows of at most `max_length` read items.

    Windows do not overlap and are aligned to the end of the history, so the newest one is full.
    Every training interaction but a user's first is the target of exactly one position.
    """
    begin = sequences.offsets[:-1]
    readable = np.maximum(sequences.train_end - begin - 1, 0)  # the last item is only a target
    count = -(-readable // max_length)
    user = np.repeat(np.arange(sequences.users), count)
    place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)  # 0 … count - 1
    first_length = readable - (count - 1) * max_length
    length = np.where(place == 0, first_length[user], max_length)
    start = begin[user] + np.where(place == 0, 0, first_length[user] + (place - 1) * max_length)
    return Windows(start.astype(np.int64), length.astype(np.int64), user.astype(np.int64))


@dataclass(frozen=True)
class Packing:
    """Where each window lies: row and offset inside it, windows sorted by row."""

    window: Int64
    row: Int64
    offset: Int64
    rows: int
    capacity: int

    def filled(self, lengths: Int64) -> float:
        """Share of tokens that are not padding."""
        return float(lengths[self.window].sum() / max(self.rows * self.capacity, 1))


def pack(lengths: Int64, capacity: int, rng: np.random.Generator) -> Packing:
    """Fill rows of `capacity` tokens, the longest window that still fits first.

    Windows of equal length are taken in random order and the rows are shuffled.
    """
    order = rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    stacks = [
        part.tolist() for part in np.split(order, np.cumsum(np.bincount(lengths))[:-1])
    ]  # stacks[n]: windows of length n
    window, row, offset = [], [], []
    rows = 0
    longest = len(stacks) - 1
    while longest > 0:
        if not stacks[longest]:
            longest -= 1
            continue
        used, candidate = 0, longest
        while candidate > 0:
            if stacks[candidate]:
                window.append(stacks[candidate].pop())
                row.append(rows)
                offset.append(used)
                used += candidate
                candidate = min(candidate, capacity - used)
            else:
                candidate -= 1
        rows += 1
    shuffled = rng.permutation(rows)[np.asarray(row, dtype=np.int64)]
    by_row = np.argsort(shuffled, kind="stable")
    return Packing(
        np.asarray(window, dtype=np.int64)[by_row],
        shuffled[by_row],
        np.asarray(offset, dtype=np.int64)[by_row],
        rows,
        capacity,
    )


def packed_batches(
    sequences: Sequences,
    windows: Windows,
    packing: Packing,
    batch_tokens: int,
    weights: NDArray[np.float32] | None = None,
) -> Iterator[Batch]:
    """Yield batches of whole rows holding at most `batch_tokens` tokens (at least one row).

    `weights` float32 [interactions]: what each interaction counts as a target; none for all alike.
    """
    per_batch = max(batch_tokens // packing.capacity, 1)
    bounds = np.arange(0, packing.rows + per_batch, per_batch)
    cuts = np.searchsorted(packing.row, bounds)
    for first_row, low, high in zip(bounds[:-1], cuts[:-1], cuts[1:], strict=True):
        rows = min(per_batch, packing.rows - first_row)
        chosen = packing.window[low:high]
        length = windows.length[chosen]
        total = int(length.sum())
        inside = np.arange(total) - np.repeat(np.cumsum(length) - length, length)
        cell = inside + np.repeat(
            (packing.row[low:high] - first_row) * packing.capacity + packing.offset[low:high],
            length,
        )
        source = inside + np.repeat(windows.start[chosen], length)
        segment = np.repeat(np.arange(1, len(chosen) + 1), length)

        def grid(
            values: NDArray[np.integer], fill: int, cell: Int64 = cell, rows: int = int(rows)
        ) -> Tensor:
            out = np.full(rows * packing.capacity, fill, dtype=np.int64)
            out[cell] = values
            return torch.from_numpy(out.reshape(rows, packing.capacity))

        weight = np.zeros((rows * packing.capacity), dtype=np.float32)
        weight[cell] = 1.0 if weights is None else weights[source + 1]
        yield Batch(
            items=grid(sequences.items[source], 0),
            positions=grid(inside, 0),
            segments=grid(segment, 0),
            targets=grid(sequences.items[source + 1], 0),
            source=grid(source, -1),
            weights=torch.from_numpy(weight.reshape(rows, packing.capacity)),
        )


def batch_count(packing: Packing, batch_tokens: int) -> int:
    """How many batches `packed_batches` yields."""
    per_batch = max(batch_tokens // packing.capacity, 1)
    return -(-packing.rows // per_batch)
