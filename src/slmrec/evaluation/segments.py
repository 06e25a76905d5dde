"""Groups of evaluated users: whom a model serves, and whom it does not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import Sequences
from slmrec.models.popularity import training_counts

Bools = NDArray[np.bool_]
WINDOWS = 4


@dataclass(frozen=True)
class Segment:
    """Some of the evaluated users.

    - `members` bool [users]
    """

    kind: str
    """What it is told by: `history`, `target` or `time`."""
    name: str
    members: Bools


def segment_users(
    sequences: Sequences, users: NDArray[np.int64], positions: NDArray[np.int64]
) -> list[Segment]:
    """Group users by how much is known of them, by what they want next and by when; none is empty.

    `users`, `positions` int64 as `Sequences.targets` gives them.

    - `history`: `light`, `medium` and `heavy` are thirds of the users by the length of the history
      before the target, equal lengths together; `new` has no training interaction
    - `target`: `head`, `middle` and `tail` items hold a third each of the training interactions, the
      most touched first; `cold` items have none
    - `time`: quarters of the users by the time of the target, equal times together; none where the
      log has no times
    """
    starts = np.asarray(sequences.offsets)[users]
    lengths = positions - starts
    new = np.asarray(sequences.train_end)[users] <= starts
    found = [
        *_thirds("history", ("light", "medium", "heavy"), lengths),
        Segment("history", "new", new),
        *_targets(sequences, positions),
        *([] if sequences.order_only else _windows(np.asarray(sequences.timestamps)[positions])),
    ]
    return [segment for segment in found if segment.members.any()]


def _thirds(kind: str, names: tuple[str, str, str], values: NDArray[np.int64]) -> list[Segment]:
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    groups = (values <= low, (values > low) & (values <= high), values > high)
    return [Segment(kind, name, members) for name, members in zip(names, groups, strict=True)]


def _targets(sequences: Sequences, positions: NDArray[np.int64]) -> list[Segment]:
    counts = training_counts(sequences)
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    third = np.empty(len(counts), dtype=np.int64)
    third[order] = np.minimum(3 * before // max(int(counts.sum()), 1), 2)
    targets = np.asarray(sequences.items)[positions]
    cold = counts[targets] == 0
    segments = [
        Segment("target", name, (third[targets] == number) & ~cold)
        for number, name in enumerate(("head", "middle", "tail"))
    ]
    return [*segments, Segment("target", "cold", cold)]


def _windows(times: NDArray[np.int64]) -> list[Segment]:
    """Quarters by time, equal times together; none where there are fewer than four of them."""
    if len(np.unique(times)) < WINDOWS:
        return []
    shares = [number / WINDOWS for number in range(1, WINDOWS)]
    ends = np.quantile(times, shares, method="inverted_cdf")
    window = np.searchsorted(ends, times, side="left")
    return [Segment("time", f"quarter {number + 1}", window == number) for number in range(WINDOWS)]
