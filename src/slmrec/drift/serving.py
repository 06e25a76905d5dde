"""What production makes of the people of a window: states, lists, and how well it guesses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import PADDING, Int64
from slmrec.drift.difference import Float
from slmrec.drift.windows import Window
from slmrec.evaluation.metrics import HEADLINE_CUTOFF, ndcg
from slmrec.evaluation.ranking import CHUNK_BYTES, LIST_LENGTH, rank_targets
from slmrec.models.item_map import TranslatedServable
from slmrec.models.scorer import History

NEXT_ITEMS = 10
"""The newest so many interactions of a user in a window are guessed, each from those before it."""
MIN_GUESSED = 30
"""People somebody has to guess about for their mean to mean anything."""


@dataclass(frozen=True)
class Serving:
    """Production, asked in the numbers of the log that is watched."""

    model: TranslatedServable
    version: int
    trained_until: int
    """Newest moment that it learned from, seconds; what comes after is new to it."""
    previous: TranslatedServable | None = None
    """What served before it."""
    previous_version: int | None = None


@dataclass(frozen=True)
class People:
    """Some users of a window, each with what they did there, and what production makes of it.

    - `users` int64 [users]: indices in the log
    - `states` float32 [users, width]
    - `lists` int64 [users, 10] items of the log, best first, 0 where none is left; `scores` float32
    - `before`: lists of what served before; None without it
    - `gains`, `guesses` float64 [users]: sum of NDCG@10 over guessed interactions, and how many
    - `guessed`: user row, item and gain of each guessed interaction; production learned from none
    - `unlearned`: whether production learned from nothing in the window
    """

    window: Window
    users: Int64
    histories: tuple[History, ...]
    states: NDArray[np.float32]
    lists: Int64
    scores: NDArray[np.float32]
    before: Int64 | None
    gains: Float
    guesses: Float
    guessed: tuple[Int64, Int64, Float]
    unlearned: bool = True

    def by_lot(self, most: int, rng: np.random.Generator) -> "People":
        """At most so many of them."""
        if len(self.users) <= most:
            return self
        chosen = np.sort(rng.choice(len(self.users), most, replace=False))
        place = np.full(len(self.users), -1)
        place[chosen] = np.arange(most)
        rows, items, gains = self.guessed
        kept = place[rows] >= 0
        return replace(
            self,
            users=self.users[chosen],
            histories=tuple(self.histories[row] for row in chosen),
            states=self.states[chosen],
            lists=self.lists[chosen],
            scores=self.scores[chosen],
            before=None if self.before is None else self.before[chosen],
            gains=self.gains[chosen],
            guesses=self.guesses[chosen],
            guessed=(place[rows[kept]], items[kept], gains[kept]),
        )

    @property
    def listed(self) -> NDArray[np.bool_]:
        """Where lists hold an item: bool [users, 10]."""
        return self.lists != PADDING


def look(window: Window, serving: Serving, max_users: int, rng: np.random.Generator) -> People:
    """Ask production about users of a window, by lot at most `max_users`, from what they did there.

    Only those of whom it knows at least one item; a window without any gives no people.
    """
    users = np.unique(window.users[serving.model.knows(window.items)])
    if len(users) > max_users:
        users = np.sort(rng.choice(users, max_users, replace=False))
    histories, times = _histories(window, users)
    chosen = tuple(histories)
    empty = np.zeros((0, LIST_LENGTH))
    if not chosen:
        lists, scores, before = empty.astype(np.int64), empty.astype(np.float32), None
        states = np.zeros((0, 1), dtype=np.float32)
    else:
        states = serving.model.states(chosen)
        lists, scores = serving.model.best(chosen, LIST_LENGTH, exclude_seen=True)
        before = None
        if serving.previous is not None:
            before, _ = serving.previous.best(chosen, LIST_LENGTH, exclude_seen=True)
    fresh = [np.flatnonzero(moments > serving.trained_until) for moments in times]
    row, item, gain = _guess(serving.model, chosen, fresh)
    gains = np.bincount(row, weights=gain, minlength=len(chosen)).astype(np.float64)
    guesses = np.bincount(row, minlength=len(chosen)).astype(np.float64)
    return People(
        window,
        users,
        chosen,
        states,
        lists,
        scores,
        before,
        gains,
        guesses,
        (row, item, gain),
        int(window.timestamps[0]) > serving.trained_until,
    )


def _histories(window: Window, users: Int64) -> tuple[list[History], list[Int64]]:
    """What some users of a window did there, oldest first, and when."""
    if not len(users):
        return [], []
    theirs = np.flatnonzero(np.isin(window.users, users))
    order = theirs[np.argsort(window.users[theirs], kind="stable")]
    _, starts = np.unique(window.users[order], return_index=True)
    items = window.items[order].astype(np.int32)
    return np.split(items, starts[1:]), np.split(window.timestamps[order], starts[1:])


def _guess(
    model: TranslatedServable, histories: Sequence[History], fresh: Sequence[Int64]
) -> tuple[Int64, Int64, Float]:
    """Rank each user's newest interactions, of the places in `fresh`, from those before them.

    Only where production knows one of those; what it cannot list gains 0.
    """
    starts = [int(np.argmax(model.knows(history))) for history in histories]  # first known item
    asked: list[tuple[int, int]] = [
        (row, place)
        for row, places in enumerate(fresh)
        for place in places[places > starts[row]][-NEXT_ITEMS:].tolist()
    ]
    targets = np.array([histories[row][place] for row, place in asked], dtype=np.int32)
    gains = np.zeros(len(asked))
    rows = max(1, min(1024, CHUNK_BYTES // (4 * model.columns)))
    for start in range(0, len(asked), rows):
        part = [histories[row][:place] for row, place in asked[start : start + rows]]
        here = slice(start, start + len(part))
        ranks = rank_targets(model.scores(part), part, targets[here], exclude_seen=True)
        gains[here] = ndcg(ranks, HEADLINE_CUTOFF)
    gains[~model.knows(targets)] = 0.0
    row = np.array([row for row, _ in asked], dtype=np.int64)
    return row, targets.astype(np.int64), gains
