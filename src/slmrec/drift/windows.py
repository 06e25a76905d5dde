"""Windows of the log by time, each seen as it would have been seen on its last day."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import Int64, Sequences

Mask = NDArray[np.bool_]
WEEK = 7 * 86_400


@dataclass(frozen=True)
class Timeline:
    """All interactions in time order: `users`, `items`, `timestamps`, int64 [interactions].

    `user_core` is the smallest number of interactions of a user: what the k-core left.
    """

    users: Int64
    items: Int64
    timestamps: Int64
    user_core: int

    def before(self, moment: int) -> int:
        """How many interactions are not newer than `moment`, seconds since 1970."""
        return int(np.searchsorted(self.timestamps, moment, side="right"))


@dataclass(frozen=True)
class Window:
    """Consecutive interactions in time order, and who and what occurred just before them.

    `start` and `end` are positions in the timeline. `known_users` and `known_items` say, by index,
    what is not new: what the window before this one held, as many interactions as this one has.
    """

    start: int
    end: int
    users: Int64
    items: Int64
    timestamps: Int64
    known_users: Mask
    known_items: Mask

    def touched_items(self) -> Mask:
        """Which items, by index, occur in the window."""
        touched = np.zeros_like(self.known_items)
        touched[self.items] = True
        return touched

    @property
    def user_count(self) -> int:
        """Users with an interaction in the window."""
        return len(np.unique(self.users))


def timeline(sequences: Sequences, seed: int) -> Timeline:
    """Put the interactions of all users in one order of time.

    Interactions of the same second are ordered by user, the users by lot: a boundary that falls
    into such a group must not part low indices from high ones, since indices mean something.
    """
    lengths = np.diff(sequences.offsets)
    users = np.repeat(np.arange(sequences.users), lengths)
    lot = np.random.default_rng(seed).permutation(sequences.users)
    order = np.lexsort((lot[users], sequences.timestamps))
    items = np.asarray(sequences.items, dtype=np.int64)[order]
    return Timeline(
        users=users[order],
        items=items,
        timestamps=np.asarray(sequences.timestamps)[order],
        user_core=int(lengths[lengths > 0].min(initial=len(items))),
    )


def same_weekdays(log: Timeline, window: Window) -> int | None:
    """The position up to which a window's counterpart of whole weeks before it reaches.

    None where the window is two weeks long or longer, and so has every weekday alike, or where the log
    does not reach back that far.
    """
    first, last = int(window.timestamps[0]), int(window.timestamps[-1])
    if last - first >= 2 * WEEK:
        return None
    weeks = -(-(last - first + 1) // WEEK)
    end = log.before(last - weeks * WEEK)
    return end if 0 < end <= window.start else None


def window_until(log: Timeline, end: int, size: int) -> Window | None:
    """The newest `size` interactions before position `end`; None when the log is too short.

    The k-core looks at the whole log, so it knows of a user in March that he will come back in May,
    and it has dropped the newcomers of this week who have not come back yet. Compared as they are,
    the newest window would hold fewer newcomers and longer histories by that alone. So users who
    were below the core's count at `end` are left out, in every window alike. Items are not: the
    tail that is admitted as a log grows would look like a change of taste. "New" means: not in the
    equally long window before, because "never seen before" becomes rarer in any growing log.
    """
    users = log.users[:end]
    kept = np.flatnonzero(np.bincount(users, minlength=1)[users] >= log.user_core)
    if size < 1 or len(kept) < 2 * size:
        return None
    inside, earlier = kept[-size:], kept[-2 * size : -size]
    known_users = np.zeros(int(log.users.max()) + 1, dtype=bool)
    known_items = np.zeros(int(log.items.max()) + 1, dtype=bool)
    known_users[log.users[earlier]] = True
    known_items[log.items[earlier]] = True
    return Window(
        start=int(inside[0]),
        end=end,
        users=log.users[inside],
        items=log.items[inside],
        timestamps=log.timestamps[inside],
        known_users=known_users,
        known_items=known_items,
    )
