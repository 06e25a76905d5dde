"""Exact ranking of the whole catalogue, in the order in which a served list is sorted.

The order is by score, highest first, and among equal scores by item index, lowest first. So a model
that gives every item the same score gains nothing from ties, and offline ranks agree with what is
served.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmrec.data.ahead import mapped_ahead
from slmrec.data.sequences import PADDING, Sequences
from slmrec.errors import DataError
from slmrec.models.machine import torch_threads, usable_threads
from slmrec.models.rank_rows import rank_rows
from slmrec.models.scorer import History, Lists, Scorer

Scores = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

CHUNK_BYTES = 8 * 2**20
"""Largest block of catalogue scores that a model is asked for at once; each thread holds one."""
LIST_LENGTH = 10
_NO_ITEMS: Int32 = np.empty(0, dtype=np.int32)
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

    `scores` float32 [rows, items + 1] without NaN; `targets` int32 [rows]. With `exclude_seen` the
    history's items are not counted; the target always is. Returns int32 [rows].
    """
    return _ranked(scores, histories, targets, 0, exclude_seen=exclude_seen)[0]


def top_k(scores: Scores, histories: Sequence[History], k: int, *, exclude_seen: bool) -> Int32:
    """List the `k` best items of each row, best first, ties to the smaller index.

    `scores` float32 [rows, items + 1] without NaN. With `exclude_seen` a history's items are left
    out. Returns int32 [rows, k] item indices, 0 where fewer than `k` items were left.
    """
    nothing = np.zeros(len(scores), dtype=np.int32)
    return _ranked(scores, histories, nothing, k, exclude_seen=exclude_seen)[1]


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

    As many threads as there are processors each have a chunk scored and rank it while it is in their
    cache, and torch has one thread in each: so the ranks do not depend on how many there are.
    `users`, `positions` int64 as `Sequences.targets` gives them. `name` is what messages call the
    model, by default the scorer's own. `report` receives all ranks so far after each chunk.
    Raises `DataError` naming the model when a score is NaN or the scores have another shape than
    [histories, items + 1].
    """
    name = name or scorer.name
    columns = sequences.item_count + 1
    rows = max(1, min(1024, chunk_bytes // (4 * columns)))
    targets = np.asarray(sequences.items[positions], dtype=np.int32)
    ranks = np.empty(len(users), dtype=np.int32)
    lists = np.empty((len(users), LIST_LENGTH), dtype=np.int32)

    def rank(start: int) -> int:
        chunk = slice(start, start + rows)
        histories = histories_before(sequences, users[chunk], positions[chunk])
        scores = _shaped_scores(scorer, histories, columns, name)
        ranks[chunk], lists[chunk] = _ranked(
            scores, histories, targets[chunk], LIST_LENGTH, exclude_seen=exclude_seen, name=name
        )
        return min(start + rows, len(users))

    with torch_threads(1):
        for done in mapped_ahead(rank, range(0, len(users), rows), workers=usable_threads()):
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
        f"{_whose(name)}: {np.count_nonzero(bad):,} of {bad.size:,} scores are NaN, the first for "
        f"item index {column + 1} after a history of {len(histories[row])} items; expected "
        "numbers only. Its training has probably diverged: lower its learning rate and retrain"
    )


def _whose(name: str) -> str:
    return f"model '{name}'" if name else "scores"


def _ranked(
    scores: Scores,
    histories: Sequence[History],
    targets: Int32,
    k: int,
    *,
    exclude_seen: bool,
    name: str = "",
) -> tuple[Int32, Int32]:
    rows, columns = scores.shape
    left_out = histories if exclude_seen else [_NO_ITEMS] * rows
    lengths = [len(history) for history in left_out]
    seen = np.concatenate([_NO_ITEMS, *left_out])
    # What is compiled checks nothing itself.
    for what, items in (("targets", targets), ("histories", seen)):
        if len(items) and not 0 <= items.min() <= items.max() < columns:
            raise DataError(
                f"{_whose(name)}: {what} with items {items.min()} to {items.max()}, expected 0 to "
                f"{columns - 1}; was it trained on these sequences?"
            )
    if scores.dtype != np.float32 or not len(targets) == len(left_out) == rows:
        raise DataError(
            f"{_whose(name)}: {rows} rows of {scores.dtype} for {len(targets)} targets and "
            f"{len(left_out)} histories, expected float32 and one row each"
        )
    ranks = np.empty(rows, dtype=np.int32)
    lists = np.empty((rows, k), dtype=np.int32)
    broken = rank_rows(
        np.ascontiguousarray(scores),
        seen,
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        np.ascontiguousarray(targets, dtype=np.int32),
        ranks,
        lists,
    )
    if broken >= 0:
        _refuse_nan(scores, histories, name)
    return ranks, lists
