"""Logs whose drift is known because it was planted, or known to be absent."""

from collections.abc import Callable

import numpy as np
import pytest

from slmrec.data.sequences import Sequences
from slmrec.drift.thresholds import NAMES, DriftThresholds


def from_events(events: list[tuple[int, int, int]], item_count: int) -> Sequences:
    """Sequences from (user, timestamp, item); users are 0 … n - 1."""
    table = np.array(sorted(events), dtype=np.int64).reshape(-1, 3)
    lengths = np.bincount(table[:, 0])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Sequences(
        offsets=offsets,
        items=table[:, 2].astype(np.int32),
        timestamps=table[:, 1].copy(),
        train_end=offsets[1:],
        validation_end=offsets[1:],
        item_count=item_count,
    )


def random_log(
    seed: int, *, users: int = 120, items: int = 40, shift_at: float | None = None
) -> Sequences:
    """Users with 3 to 15 interactions at any time of 1000 days, popular items more often.

    From the share `shift_at` of the time on, popularity is turned round.
    """
    rng = np.random.default_rng(seed)
    end = 1000 * 86_400
    weights = 1 / np.arange(1, items + 1)
    weights /= weights.sum()
    events = []
    for user in range(users):
        for moment in rng.integers(0, end, rng.integers(3, 16)):
            item = int(rng.choice(items, p=weights)) + 1
            if shift_at is not None and moment >= shift_at * end:
                item = items + 1 - item
            events.append((user, int(moment), item))
    return from_events(events, items)


@pytest.fixture
def make_log() -> Callable[..., Sequences]:
    """`random_log`."""
    return random_log


@pytest.fixture
def make_sequences_from_events() -> Callable[..., Sequences]:
    """`from_events`."""
    return from_events


@pytest.fixture
def any_effect() -> DriftThresholds:
    """No least effect: alarms rest on the p-values alone."""
    return DriftThresholds(**dict.fromkeys(NAMES, 0.0))


def arriving_log(seed: int, *, users: int = 900, items: int = 400, core: int = 5) -> Sequences:
    """Users who come, stay and leave at a constant rate over 1000 days, reduced to its k-core.

    Nothing changes over time, except that the core has not seen how the newest users go on.
    """
    rng = np.random.default_rng(seed)
    day, end = 86_400, 1000 * 86_400
    weights = 1 / np.arange(1, items + 1) ** 0.8
    weights /= weights.sum()
    events: list[tuple[int, int, int]] = []
    for user in range(users):
        waits = np.cumsum(rng.exponential(10 * day, rng.geometric(0.12)))
        times = rng.integers(-300 * day, end) + waits.astype(int)
        times = times[(times >= 0) & (times < end)]
        chosen = dict.fromkeys(rng.choice(items, len(times), p=weights).tolist())
        events += [(user, int(t), item + 1) for t, item in zip(times, chosen, strict=False)]
    table = np.array(events)
    while True:
        kept = (np.bincount(table[:, 0])[table[:, 0]] >= core) & (
            np.bincount(table[:, 2])[table[:, 2]] >= core
        )
        if kept.all():
            break
        table = table[kept]
    table[:, 0] = np.unique(table[:, 0], return_inverse=True)[1]
    return from_events([tuple(row) for row in table.tolist()], items)


@pytest.fixture
def make_arriving_log() -> Callable[..., Sequences]:
    """`arriving_log`."""
    return arriving_log
