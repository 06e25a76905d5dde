"""Exact ranking of the whole catalogue, in the order in which a served list is sorted.

The order is by score, highest first, and among equal scores by item index, lowest first. So a model
that gives every item the same score gains nothing from ties, and offline ranks agree with what is
served.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmrec.data.ahead import mapped_ahead
from slmrec.data.sequences import PADDING, Sequences
from slmrec.errors import DataError
from slmrec.models.scorer import History, Lists, Scorer

Scores = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

CHUNK_BYTES = 32 * 2**20
"""Largest block of catalogue scores that a model is asked for at once; two of them are held."""
LIST_LENGTH = 10
_LOWEST = np.finfo(np.float32).min
_CACHED_BYTES = 2**20
"""Scores that are worked on together, so that every pass but the first finds them in the cache."""
_TIED = 2
"""Where more groups than so many times a list's length reach what is listed, scores are tied."""
_OVERLAP_ROWS = 8192


@dataclass(frozen=True)
class Ranking:
    """How one model ranks the evaluated users' targets, and what it would have shown them.

    - `ranks` int32 [users], from 1; `lists` int32 [users, 10] item indices, 0 where none was left
    """

    ranks: Int32
    lists: Int32

    def overlap(self, other: "Ranking") -> float:
        """Mean share of what the other model lists that this one lists, too; empty lists are alike."""
        shares = np.empty(len(other.lists))
        for start in range(0, len(shares), _OVERLAP_ROWS):
            here = slice(start, start + _OVERLAP_ROWS)
            theirs = other.lists[here]
            listed = theirs != PADDING
            shared = (theirs[:, :, None] == self.lists[here, None, :]).any(axis=2) & listed
            sizes = listed.sum(axis=1)
            shares[here] = np.where(sizes > 0, shared.sum(axis=1) / np.maximum(sizes, 1), 1.0)
        return float(shares.mean())


def histories_before(sequences: Sequences, users: Int64, positions: Int64) -> list[History]:
    """Collect what is known of each user before the target: int32 arrays, oldest first."""
    starts = np.asarray(sequences.offsets)[users]
    items = np.asarray(sequences.items)  # a memory map is slow to slice
    return [
        np.asarray(items[start:stop], dtype=np.int32)
        for start, stop in zip(starts.tolist(), positions.tolist(), strict=True)
    ]


def rank_targets(
    scores: Scores, histories: Sequence[History], targets: Int32, *, exclude_seen: bool
) -> Int32:
    """Rank of each row's target: 1 + items scored higher + equal ones with a smaller index.

    `scores` float32 [rows, items + 1] without NaN, changed meanwhile and restored; `targets` int32
    [rows]. With `exclude_seen` the history's items are not counted; the target always is. Returns
    int32 [rows].
    """
    own = _own_scores(scores, targets)
    ranks = np.empty(len(targets), dtype=np.int32)
    with _left_out(scores, histories, exclude_seen=exclude_seen) as left:
        left.rank(range(len(targets)), own, targets, ranks)
    return ranks


def top_k(scores: Scores, histories: Sequence[History], k: int, *, exclude_seen: bool) -> Int32:
    """List the `k` best items of each row, best first, ties to the smaller index.

    `scores` float32 [rows, items + 1] without NaN, changed meanwhile and restored. With
    `exclude_seen` a history's items are left out. Returns int32 [rows, k] item indices, 0 where fewer
    than `k` items were left.
    """
    with _left_out(scores, histories, exclude_seen=exclude_seen) as left:
        return left.best(k, _group_maxima(left.scores, _groups(scores.shape[1], k)))


def answer(
    scorer: Scorer, histories: Sequence[History], *, exclude_seen: bool
) -> NDArray[np.integer]:
    """Answer a request as in service: the top-10 lists, by the model itself where it makes them.

    Returns [histories, 10] item indices, 0 where fewer items were left.
    """
    if isinstance(scorer, Lists):
        return scorer.best(histories, LIST_LENGTH, exclude_seen=exclude_seen)[0]
    return top_k(scorer.scores(histories), histories, LIST_LENGTH, exclude_seen=exclude_seen)


def rank_users(
    scorer: Scorer,
    sequences: Sequences,
    users: Int64,
    positions: Int64,
    *,
    exclude_seen: bool,
    name: str = "",
    chunk_bytes: int = CHUNK_BYTES,
    report: Callable[[Int32], None] | None = None,
) -> Ranking:
    """Rank the full catalogue for every user, in chunks of bounded memory.

    The model scores one chunk in the caller's thread while the last one is ranked in another.
    `users`, `positions` int64 as `Sequences.targets` gives them. `name` is what messages call the
    model, by default the scorer's own. `report` receives all ranks so far after each chunk.
    Raises `DataError` naming the model when a score is NaN or the scores have another shape than
    [histories, items + 1].
    """
    name = name or scorer.name
    columns = sequences.item_count + 1
    rows = max(1, min(1024, chunk_bytes // (4 * columns)))
    groups = _groups(columns, LIST_LENGTH)
    targets = np.asarray(sequences.items[positions], dtype=np.int32)
    ranks = np.empty(len(users), dtype=np.int32)
    lists = np.empty((len(users), LIST_LENGTH), dtype=np.int32)

    def scored() -> Iterator[tuple[slice, list[History], Scores]]:
        for start in range(0, len(users), rows):
            chunk = slice(start, min(start + rows, len(users)))
            histories = histories_before(sequences, users[chunk], positions[chunk])
            yield chunk, histories, _shaped_scores(scorer, histories, columns, name)

    def rank(part: tuple[slice, list[History], Scores]) -> int:
        chunk, histories, scores = part
        own = _own_scores(scores, targets[chunk])
        with _left_out(scores, histories, exclude_seen=exclude_seen) as left:
            maxima = np.empty((len(histories), groups), dtype=np.float32)
            for block in left.blocks():
                here = slice(block.start, block.stop)
                maxima[here] = _group_maxima(left.scores[here], groups)
                left.rank(block, own, targets[chunk], ranks[chunk])
            broken = bool(np.isnan(maxima).any() or np.isnan(left.seen_scores).any())
            if not broken:
                lists[chunk] = left.best(LIST_LENGTH, maxima)
        if broken:
            _refuse_nan(scores, histories, name)
        return int(chunk.stop)

    for done in mapped_ahead(rank, scored(), workers=1):
        if report is not None:
            report(ranks[:done])
    return Ranking(ranks, lists)


def checked_scores(scorer: Scorer, histories: Sequence[History], columns: int, name: str) -> Scores:
    """Ask the model for scores; raise `DataError` when they cannot be ranked."""
    scores = _shaped_scores(scorer, histories, columns, name)
    highest = scores[:, 1:].max(axis=1, initial=-np.inf)  # NaN where there is one
    if np.isnan(highest).any():
        _refuse_nan(scores, histories, name)
    return scores


def _shaped_scores(scorer: Scorer, histories: Sequence[History], columns: int, name: str) -> Scores:
    scores = scorer.scores(histories)
    if scores.shape != (len(histories), columns):
        raise DataError(
            f"model '{name}': scores of shape {scores.shape} for {len(histories)} histories, "
            f"expected {(len(histories), columns)}; was it trained on these sequences?"
        )
    return scores


def _refuse_nan(scores: Scores, histories: Sequence[History], name: str) -> None:
    bad = np.isnan(scores[:, 1:])
    row, column = np.argwhere(bad)[0]
    raise DataError(
        f"model '{name}': {np.count_nonzero(bad):,} of {bad.size:,} scores are NaN, the first "
        f"for item index {column + 1} after a history of {len(histories[row])} items; expected "
        "numbers only. Its training has probably diverged: lower its learning rate and retrain"
    )


def _own_scores(scores: Scores, targets: Int32) -> Scores:
    # A model's own -inf still ranks, at the end; only what is left out falls below every item.
    own: Scores = np.maximum(scores[np.arange(len(targets)), targets], _LOWEST)
    return own


@contextmanager
def _left_out(
    scores: Scores, histories: Sequence[History], *, exclude_seen: bool
) -> Iterator["_Left"]:
    """Put -inf where padding and seen items are, without a copy where that can be undone."""
    if not (scores.flags.c_contiguous and scores.flags.writeable):
        scores = scores.copy()
    rows, items = np.arange(len(scores)), np.zeros(len(scores), dtype=np.int32)
    if exclude_seen and histories:
        lengths = [len(history) for history in histories]
        rows = np.concatenate([rows, np.repeat(rows, lengths)])
        items = np.concatenate([items, *histories])
    kept = scores[rows, items]
    scores[rows, items] = -np.inf
    try:
        yield _Left(scores, kept[len(scores) :], histories if exclude_seen else [])
    finally:
        scores[rows, items] = kept


class _Left:
    """Scores of the items that are left: what was left out has -inf.

    A model's own -inf counts as the lowest number, which is told apart from what was left out only
    where it matters: in a row whose list or rank reaches down there.
    """

    def __init__(self, scores: Scores, seen: Scores, histories: Sequence[History]) -> None:
        self.scores = scores
        self.seen_scores = seen
        self._histories = histories
        self._above = np.empty(scores.shape[1], dtype=np.bool_)

    def blocks(self) -> Iterator[range]:
        """Rows that fit into the cache, one block after another."""
        rows, columns = self.scores.shape
        size = max(1, _CACHED_BYTES // (4 * columns))
        for start in range(0, rows, size):
            yield range(start, min(start + size, rows))

    def rank(self, block: range, own: Scores, targets: Int32, ranks: Int32) -> None:
        """Put the ranks of some rows' targets, whose scores are `own`, into `ranks`."""
        above = self._above
        here = slice(block.start, block.stop)
        wanted = zip(block, own[here].tolist(), targets[here].tolist(), strict=True)
        for row, score, target in wanted:
            values = self.scores[row] if score > _LOWEST else self._clamped(row)
            np.greater_equal(values[:target], score, above[:target])
            # In the target's place is its own score or -inf, so it is not above itself.
            np.greater(values[target:], score, above[target:])
            ranks[row] = 1 + np.count_nonzero(above)

    def best(self, k: int, maxima: Scores) -> Int32:
        """The `k` best items of every row, best first, 0 where there are no more: int32 [rows, k].

        `maxima` are of groups of items as `_group_maxima` gives them. The k-th highest of them, or of
        the maxima of some of them, is at most the k-th highest score: what does not reach it is not
        listed.
        """
        rows, columns = self.scores.shape
        groups = maxima.shape[1]
        lists = np.full((rows, k), PADDING, dtype=np.int32)
        width = min(k, columns - 1)
        if width <= 0 or not rows:
            return lists
        coarse = _group_maxima(maxima, 8 * width)
        bounds = np.partition(coarse, -width, axis=1)[:, -width]
        reached = maxima >= bounds[:, None]
        apart = (bounds <= _LOWEST) | (np.count_nonzero(reached, axis=1) > _TIED * width)
        for row in np.flatnonzero(apart).tolist():
            chosen = self._best_of(row, bounds[row], width)
            lists[row, : len(chosen)] = chosen
        reached[apart] = False
        row_of, group = np.divmod(np.flatnonzero(reached), groups)
        items = group[:, None] + np.arange(0, columns, groups)  # [reached groups, items of a group]
        items[items[:, -1] >= columns, -1] = PADDING  # which is -inf and so below every bound
        values = self.scores.reshape(-1)[items + row_of[:, None] * columns]
        kept = np.flatnonzero(values >= bounds[row_of, None])
        row_of, items, values = (
            row_of[kept // items.shape[1]],
            items.ravel()[kept],
            values.ravel()[kept],
        )
        order = np.lexsort((items, -values, row_of))
        row_of, items = row_of[order], items[order]
        place = np.arange(len(row_of)) - np.searchsorted(row_of, np.arange(rows))[row_of]
        first = place < width
        lists[row_of[first], place[first]] = items[first]
        return lists

    def _best_of(self, row: int, bound: np.float32, width: int) -> NDArray[np.int64]:
        """The best items of one row in which many are alike; none of them is below `bound`."""
        values = self.scores[row] if bound > _LOWEST else self._clamped(row)
        above = np.flatnonzero(values > max(bound, _LOWEST))
        level = np.flatnonzero(values == max(bound, _LOWEST))[: max(width - len(above), 0)]
        chosen = np.sort(np.concatenate([above, level]))
        return chosen[np.argsort(-values[chosen], kind="stable")[:width]]

    def _clamped(self, row: int) -> Scores:
        values: Scores = np.maximum(self.scores[row], _LOWEST)
        values[PADDING] = -np.inf
        if self._histories:
            values[self._histories[row]] = -np.inf
        return values


def _group_maxima(scores: Scores, groups: int) -> Scores:
    """Maxima of groups of items, an item's being its index modulo `groups`: [rows, groups]."""
    rows, columns = scores.shape
    if columns <= groups or not rows:
        return scores[:, :groups]
    whole = columns - columns % groups
    maxima: Scores = scores[:, :whole].reshape(rows, -1, groups).max(axis=1)
    rest = scores[:, whole:]
    np.maximum(maxima[:, : rest.shape[1]], rest, out=maxima[:, : rest.shape[1]])
    return maxima


def _groups(columns: int, k: int) -> int:
    """How many groups make finding the `k` best of so many scores fast: more cost more to compare."""
    return min(columns, max(1, 4 * k, math.isqrt(4 * k * columns)))
