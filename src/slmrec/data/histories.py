"""A partition of whole users: into history order, duplicates out, and what a card says of it."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.data.ordering import refined, scrambled, stable_order, starts_of_runs
from slmrec.data.spool import Rows

Bool = NDArray[np.bool_]
MICROSECONDS = 1_000_000
_GAPS = (0, 60, 3_600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
_TIE_SIZES = (1, 2, 3, 4, 8, 16, 32, 64)


def id_digests(ids: pl.Series) -> NDArray[np.uint64]:
    """Give 64 bits for each user or item id that depend on nothing but its text."""
    digests = b"".join(
        hashlib.blake2b(text.encode(), digest_size=8).digest() for text in ids.to_list()
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)


class TieOrder:
    """What comes first at one moment: see `IngestInteractions.ties`.

    With `content` the order is that of a digest of item and moment. It does not depend on where a
    row stood in the source, and it teaches a model nothing, as an order by item id would.
    """

    def __init__(self, ties: Literal["content", "source"], items: pl.Series) -> None:
        self._ties = ties
        self._items = items
        self._digests: NDArray[np.uint64] | None = None

    def arrange(self, rows: Rows) -> tuple[Rows, Rows, "LogFigures"]:
        """Sort a partition; give its rows without duplicates, the duplicates, and the figures."""
        rows = self.in_history_order(rows)
        repeated = repeated_rows(rows)
        kept = rows[~repeated] if repeated.any() else rows
        return kept, rows[repeated], LogFigures.of(kept)

    def in_history_order(self, rows: Rows) -> Rows:
        """Sort rows by user and moment, ties by the rule, equal rows by their place in the source."""
        user = rows["user"] - rows["user"].min()
        moment = rows["moment"] - rows["moment"].min()
        if (moment % MICROSECONDS == 0).all():
            moment //= MICROSECONDS
        order = stable_order([user, moment])
        starts = starts_of_runs(user[order], moment[order])
        if starts.all():
            return rows[order]
        keys = [rows["row"]]
        if self._ties == "content":
            tie = scrambled(self._of_items(rows) ^ scrambled(rows["moment"].astype(np.uint64)))
            keys = [tie, rows["item"], rows["rating"].view(np.int32), rows["row"]]
        return rows[refined(order, starts, keys)]

    def _of_items(self, rows: Rows) -> NDArray[np.uint64]:
        if self._digests is None:  # most logs of events never need them
            self._digests = id_digests(self._items)
        return self._digests[rows["item"]]


def repeated_rows(rows: Rows) -> Bool:
    """Tell which rows say again what an earlier one says (user, item, moment, rating): bool [rows].

    `rows` are in history order; where the source's order decides ties, copies need not be
    neighbours, so rows of one moment are compared with each other.
    """
    repeated = np.zeros(len(rows), np.bool_)
    starts = starts_of_runs(rows["user"], rows["moment"])
    tied = ~starts
    tied[:-1] |= tied[1:]
    places = np.flatnonzero(tied)
    if len(places):
        run = np.cumsum(starts[places])
        item, rating = rows["item"][places], rows["rating"].view(np.int32)[places]
        order = np.lexsort((places, rating, item, run))
        first = starts_of_runs(run[order], item[order], rating[order])
        repeated[places[order]] = ~first
    return repeated


@dataclass
class LogFigures:
    """What the data card says of the kept rows, added up over partitions."""

    kept: int = 0
    rated: int = 0
    first: int | None = None
    last: int | None = None
    most_of_a_user: int = 0
    repeats: int = 0
    equal_times: int = 0
    _gaps: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(_GAPS), np.int64), repr=False
    )
    _sizes: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(_TIE_SIZES), np.int64), repr=False
    )

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Count rows of whole users, in history order, duplicates removed."""
        figures = cls()
        seconds = rows["moment"] // MICROSECONDS
        figures.first, figures.last = int(seconds.min()), int(seconds.max())
        figures.kept = len(rows)
        figures.rated = int((~np.isnan(rows["rating"])).sum())
        figures._add_ties(rows["user"], seconds)
        figures._add_repeats(rows, seconds)
        return figures

    def add(self, other: "LogFigures") -> None:
        """Add the figures of other users."""
        self.first = other.first if self.first is None else min(self.first, other.first or 0)
        self.last = other.last if self.last is None else max(self.last, other.last or 0)
        self.kept += other.kept
        self.rated += other.rated
        self.most_of_a_user = max(self.most_of_a_user, other.most_of_a_user)
        self.repeats += other.repeats
        self.equal_times += other.equal_times
        self._gaps += other._gaps
        self._sizes += other._sizes

    def _add_ties(self, user: NDArray[np.int32], seconds: NDArray[np.int64]) -> None:
        starts = np.flatnonzero(starts_of_runs(user, seconds))
        sizes = np.diff(starts, append=len(user))
        bucket = np.searchsorted(_TIE_SIZES, sizes, side="right") - 1
        self._sizes += np.bincount(bucket, weights=sizes, minlength=len(_TIE_SIZES)).astype(
            np.int64
        )
        self.equal_times += int(sizes[sizes > 1].sum())
        users = np.flatnonzero(starts_of_runs(user))
        self.most_of_a_user = max(self.most_of_a_user, int(np.diff(users, append=len(user)).max()))

    def _add_repeats(self, rows: Rows, seconds: NDArray[np.int64]) -> None:
        user = rows["user"] - rows["user"].min()
        order = stable_order([user, rows["item"]])
        again = ~starts_of_runs(user[order], rows["item"][order])
        gaps = np.diff(seconds[order], prepend=0)[again]
        self.repeats += len(gaps)
        bucket = np.searchsorted(_GAPS, gaps, side="right") - 1
        self._gaps += np.bincount(bucket, minlength=len(_GAPS))

    def card(self) -> dict[str, Any]:
        """Give the figures as the data card holds them; shares are of interactions.

        `repeats.gaps` and `ties.sizes` are lists of [lower bound, interactions]: seconds since the
        same user's last interaction with the item, and interactions at one moment.
        """
        whole = max(self.kept, 1)
        return {
            "kept": self.kept,
            "rated": self.rated,
            "first": self.first,
            "last": self.last,
            "longest_history": self.most_of_a_user,
            "equal_time_share": round(self.equal_times / whole, 6),
            "ties": {
                "share": round(self.equal_times / whole, 6),
                "sizes": [
                    list(pair) for pair in zip(_TIE_SIZES, self._sizes.tolist(), strict=True)
                ],
            },
            "repeats": {
                "share": round(self.repeats / whole, 6),
                "gaps": [list(pair) for pair in zip(_GAPS, self._gaps.tolist(), strict=True)],
            },
        }
