"""Training windows, packed into rows so that almost no token is padding.

On interaction logs the mean history is 6 to 20 items, while a padded batch is as wide as its
longest; packing puts several histories into one row, and `packed_mask` keeps them apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.data.sequences import Int64, Sequences
from slmrec.training.negatives import Negatives

WELL_FILLED = 0.95
LONGEST_ROW = 4
"""Windows of full length in a row: attention costs grow with the row."""
SCORE_BYTES = 256 * 2**20
"""Scores of the catalogue that are held at once where a whole batch is scored."""


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
    """Position of the read item in the sequences; -1 for padding. Never leaves the CPU."""
    weights: Tensor
    """float32: what the target counts in the cross-entropy; 0 for padding."""
    negatives: Negatives | None = None
    """What stands for the catalogue; none where all of it is scored."""
    weight_scale: float = 1.0
    """Mean weight here over that of the whole batch, of which these rows may be one process's part."""

    @property
    def real_positions(self) -> int:
        """Positions that are not padding."""
        return int((self.targets > 0).sum())

    @property
    def mean_weight(self) -> float:
        """Of the real positions."""
        return float(self.weights.sum()) / self.real_positions

    def rows(self, chosen: Tensor) -> "Batch":
        """Some of the rows; `chosen` int64 [rows]."""
        return replace(
            self,
            items=self.items[chosen],
            positions=self.positions[chosen],
            segments=self.segments[chosen],
            targets=self.targets[chosen],
            source=self.source[chosen],
            weights=self.weights[chosen],
        )

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device, all but `source`; a GPU copies while the CPU goes on."""
        if device.type == self.items.device.type:
            return self

        def move(tensor: Tensor) -> Tensor:
            if device.type != "cuda":
                return tensor.to(device)
            return tensor.pin_memory().to(device, non_blocking=True)

        drawn = self.negatives
        return replace(
            self,
            items=move(self.items),
            positions=move(self.positions),
            segments=move(self.segments),
            targets=move(self.targets),
            weights=move(self.weights),
            negatives=None if drawn is None else replace(drawn, items=move(drawn.items)),
        )


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


def row_capacity(lengths: Int64, max_length: int) -> int:
    """Tokens a row should hold: one window of full length, or more where that would waste too much.

    Windows that all fill a little over half of `max_length` fit no row of that length twice. The
    first row length that leaves at most 5 % padding is taken, or the best one tried; it is tried on
    at most 20,000 windows.
    """
    sample = lengths[:: -(-len(lengths) // 20_000)]
    filled = []
    for windows in range(1, LONGEST_ROW + 1):
        packing = pack(sample, windows * max_length, np.random.default_rng(0))
        filled.append(packing.filled(sample))
        if filled[-1] >= WELL_FILLED:
            break
    return (1 + int(np.argmax(filled))) * max_length


def scored_together(items: int, batch_tokens: int) -> int:
    """Tokens of a batch, at most `batch_tokens`, whose float32 scores of all items may be held."""
    return min(batch_tokens, max(SCORE_BYTES // (4 * (items + 1)), 1))


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
