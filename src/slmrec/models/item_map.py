"""One catalogue's item numbers in those of another, by item id."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.columns import ItemIndex
from slmrec.models.scorer import History
from slmrec.models.servable import Floats, Servable

Int32 = NDArray[np.int32]


def item_map(source: pl.DataFrame, target: pl.DataFrame) -> Int32:
    """The target's index of each of the source's items: int32 [items + 1], 0 for what it has not.

    Both have the columns `ItemIndex`; the source's indices go from 1 without a gap.
    """
    theirs = target.select(
        pl.col(ItemIndex.INDEX).alias("theirs"), pl.col(ItemIndex.ITEM).cast(str)
    )
    mine = source.select(ItemIndex.INDEX, pl.col(ItemIndex.ITEM).cast(str))
    both = mine.join(theirs, on=ItemIndex.ITEM, how="inner")
    found = np.zeros(len(source) + 1, dtype=np.int32)
    found[both[ItemIndex.INDEX].to_numpy()] = both["theirs"].to_numpy()
    return found


class TranslatedServable:
    """A servable that is asked in another catalogue's item numbers, as a model of an earlier log is.

    It passes over what it does not know in a history, scores what it does not know lowest of all, and
    never lists what the other catalogue has not. Who has nothing that it knows is given what was most
    often touched in its log, as where it serves.
    """

    def __init__(self, servable: Servable, catalogue: pl.DataFrame, name: str) -> None:
        self.servable = servable
        self._known = item_map(catalogue, servable.catalogue)
        self._back = item_map(servable.catalogue, catalogue)
        self.name = name
        self.weights = servable.weights
        self.bytes = servable.bytes
        self.parameters_total = servable.parameters_total
        self.parameters_backbone = servable.parameters_backbone

    @property
    def known_share(self) -> float:
        """Share of the other catalogue's items that the model knows."""
        return float(np.count_nonzero(self._known) / max(len(self._known) - 1, 1))

    @property
    def columns(self) -> int:
        """How many scores there are of a history: the other catalogue's items and one for padding."""
        return len(self._known)

    def counts(self) -> NDArray[np.int64]:
        """How often each of the other catalogue's items was met in the model's log: [items + 1]."""
        return self._counts

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        mine = self.servable.catalogue.sort(ItemIndex.INDEX)[ItemIndex.COUNT].to_numpy()
        counts: NDArray[np.int64] = np.concatenate([[0], mine]).astype(np.int64)[self._known]
        return counts

    def knows(self, items: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of the other catalogue's items the model can list."""
        return self._known[items] > 0

    def scores(self, histories: Sequence[History]) -> Floats:
        """Scores of every item of the other catalogue: float32 [histories, items + 1]."""
        asked = self.translated(histories)
        found = self.servable.scores(asked)
        scores: Floats = np.full((len(histories), len(self._known)), -np.inf, dtype=np.float32)
        there = self._known > 0
        scores[:, there] = found[:, self._known[there]]
        nobodys = _nobodys(asked)
        if len(nobodys):
            scores[np.ix_(nobodys, there)] = self._counts[there]
        return scores

    def states(self, histories: Sequence[History]) -> Floats:
        """What the model's layers make of histories: float32 [histories, width]."""
        return self.servable.states(self.translated(histories))

    def best(
        self, histories: Sequence[History], k: int, *, exclude_seen: bool
    ) -> tuple[NDArray[np.int64], Floats]:
        """The `k` best items in the other catalogue's numbers and their scores, as `Servable.best`.

        Items that the other catalogue has not are left out, so a list may be shorter by as many.
        """
        asked = self.translated(histories)
        items, scores = self.servable.best(asked, k, exclude_seen=exclude_seen)
        nobodys = _nobodys(asked)
        if len(nobodys):
            items[nobodys], scores[nobodys] = self.servable.most_popular(k)
        found = self._back[items].astype(np.int64)
        gone = found == 0
        order = np.argsort(gone, axis=1, kind="stable")
        found = np.take_along_axis(found, order, axis=1)
        scores = np.where(
            np.take_along_axis(gone, order, axis=1),
            -np.inf,
            np.take_along_axis(scores, order, axis=1),
        )
        return found, scores.astype(np.float32)

    def translated(self, histories: Sequence[History]) -> list[History]:
        """Histories in the servable's own numbers, without what it does not know."""
        mapped = [self._known[history] for history in histories]
        return [history[history > 0] for history in mapped]


def _nobodys(histories: Sequence[History]) -> NDArray[np.int64]:
    """Which histories are empty."""
    return np.flatnonzero([not len(history) for history in histories])
