"""Where each user's past ends: splits as positions, never as copies."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmrec.config import BuildSequences
from slmrec.data.ordering import chunks, chunks_of_groups
from slmrec.errors import DataError

Int64 = NDArray[np.int64]
_BINS = 4096


def split_positions(
    offsets: Int64, timestamps: Int64, settings: BuildSequences
) -> tuple[Int64, Int64, dict[str, Any]]:
    """Give (train_end, validation_end), int64 [users] each, and a description of the cuts.

    `offsets` [users + 1] and `timestamps` [interactions, seconds, ascending inside a user] are
    those of `Sequences`. `global_time` does not look inside sessions: one that spans the cut is
    cut. `leave_one_out` lets training see what other users did after a user's test item.
    """
    if settings.split == "leave_one_out":
        train_end, validation_end = leave_one_out(offsets)
        return train_end, validation_end, {"split": "leave_one_out"}
    cuts = time_cuts(timestamps, settings.validation_share, settings.test_share)
    train_end, validation_end = (positions_before(offsets, timestamps, cut) for cut in cuts)
    described = {
        "split": "global_time",
        "validation_starts": cuts[0],
        "test_starts": cuts[1],
    }
    return train_end, validation_end, described


def time_cuts(timestamps: Int64, validation_share: float, test_share: float) -> tuple[int, int]:
    """Two moments, seconds: the first of validation and the first of test.

    The shares are of interactions; an interaction at the very moment lies after the cut, so equal
    times stay together and a share may come out larger than asked for.

    Raises `DataError` when so many times are equal that a part would be empty.
    """
    count = len(timestamps)
    # Rounded first: (1 - 0.1 - 0.1) * 10 is 7.999… in binary and means 8.
    validation_at = int(np.floor(round((1 - validation_share - test_share) * count, 6)))
    test_at = int(np.floor(round((1 - test_share) * count, 6)))
    positions = [min(validation_at, count - 1), min(test_at, count - 1)]
    validation_starts, test_starts = values_at_ranks(timestamps, positions)
    if validation_starts == timestamps.min() or validation_starts == test_starts:
        raise DataError(
            f"timestamps: {count:,} interactions leave no room between the cuts at "
            f"{validation_starts} and {test_starts} (first interaction {int(timestamps.min())}); "
            "expected distinct times; set build_sequences.split to leave_one_out, or change "
            "validation_share and test_share"
        )
    return validation_starts, test_starts


def values_at_ranks(values: Int64, ranks: Sequence[int]) -> list[int]:
    """Give what would stand at the places `ranks` (from 0) if `values` [n] were sorted.

    Counts the values in equal bins, and sorts only those of the bins that are asked for.
    """
    lowest, highest = int(values.min()), int(values.max())
    width = (highest - lowest) // _BINS + 1
    counts = np.zeros(_BINS, np.int64)
    for chunk in chunks(len(values)):
        counts += np.bincount((values[chunk] - lowest) // width, minlength=_BINS)
    ends = np.cumsum(counts)
    found = []
    for rank in ranks:
        bin_ = int(np.searchsorted(ends, rank, side="right"))
        start = lowest + bin_ * width
        inside = np.concatenate(
            [
                piece[(piece >= start) & (piece < start + width)]
                for piece in (values[chunk] for chunk in chunks(len(values)))
            ]
        )
        place = rank - int(ends[bin_] - counts[bin_])
        found.append(int(np.partition(inside, place)[place]))
    return found


def positions_before(offsets: Int64, timestamps: Int64, cut: int) -> Int64:
    """Find the position, for each user, of the first interaction from `cut` on: int64 [users]."""
    positions = offsets[:-1].astype(np.int64)
    for first, after in chunks_of_groups(offsets):
        start, end = offsets[first], offsets[after]
        before = np.concatenate([[0], np.cumsum(timestamps[start:end] < cut)])
        bounds = offsets[first : after + 1] - start
        positions[first:after] += np.diff(before[bounds])
    return positions


def leave_one_out(offsets: Int64) -> tuple[Int64, Int64]:
    """Hold out the last interaction as test, the one before as validation, of users with three."""
    ends = offsets[1:]
    held_out = np.where(np.diff(offsets) >= 3, 1, 0)
    return (ends - 2 * held_out).astype(np.int64), (ends - held_out).astype(np.int64)
