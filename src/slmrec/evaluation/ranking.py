"""Exact ranking of the whole catalogue, in the order in which a served list is sorted.

The order is by score, highest first, and among equal scores by item index, lowest first. So a model
that gives every item the same score gains nothing from ties, and offline ranks agree with what is
served.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import PADDING, Sequences
from slmrec.errors import DataError
from slmrec.models.scorer import History, Scorer

Scores = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

CHUNK_BYTES = 32 * 2**20
"""Largest block of catalogue scores held at once; masks and a copy come on top."""
LIST_LENGTH = 10
_LOWEST = np.finfo(np.float32).min


@dataclass(frozen=True)
class Ranking:
    """How one model ranks the evaluated users' targets, and what it would have shown them.

    - `ranks` int32 [users], from 1; `lists` int32 [users, 10] item indices, 0 where none was left
    """

    ranks: Int32
    lists: Int32

    def overlap(self, other: "Ranking") -> float:
        """Mean share of what the other model lists that this one lists, too; empty lists are alike."""
        listed = other.lists != PADDING
        shared = (other.lists[:, :, None] == self.lists[:, None, :]).any(axis=2) & listed
        sizes = listed.sum(axis=1)
        shares = np.where(sizes > 0, shared.sum(axis=1) / np.maximum(sizes, 1), 1.0)
        return float(shares.mean())


def histories_before(sequences: Sequences, users: Int64, positions: Int64) -> list[History]:
    """Collect what is known of each user before the target: int32 arrays, oldest first."""
    starts = np.asarray(sequences.offsets)[users]
    items = sequences.items
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
    rows = np.arange(len(targets))
    considered = _considered(scores, histories, exclude_seen=exclude_seen)
    own = np.maximum(scores[rows, targets], _LOWEST)
    considered[rows, targets] = own
    above = np.count_nonzero(considered > own[:, None], axis=1)
    equal_before = (considered == own[:, None]) & (np.arange(scores.shape[1]) < targets[:, None])
    ranks: Int32 = (1 + above + np.count_nonzero(equal_before, axis=1)).astype(np.int32)
    return ranks


def top_k(scores: Scores, histories: Sequence[History], k: int, *, exclude_seen: bool) -> Int32:
    """List the `k` best items of each row, best first, ties to the smaller index.

    `scores` float32 [rows, items + 1] without NaN. With `exclude_seen` a history's items are left
    out. Returns int32 [rows, k] item indices, 0 where fewer than `k` items were left.
    """
    considered = _considered(scores, histories, exclude_seen=exclude_seen)
    lists = np.full((len(scores), k), PADDING, dtype=np.int32)
    width = min(k, scores.shape[1] - 1)
    if width <= 0 or not len(scores):
        return lists
    # The width-th highest score of each row; argpartition alone would break ties at random.
    thresholds = np.partition(considered, -width, axis=1)[:, -width]
    for row, threshold in zip(range(len(scores)), thresholds, strict=True):
        values = considered[row]
        above = np.flatnonzero(values > threshold)
        level = np.flatnonzero(values == threshold)[: width - len(above)]
        chosen = np.sort(np.concatenate([above, level]))
        chosen = chosen[values[chosen] > -np.inf]
        order = np.argsort(-values[chosen], kind="stable")
        lists[row, : len(chosen)] = chosen[order]
    return lists


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
    for start in range(0, len(users), rows):
        chunk = slice(start, start + rows)
        histories = histories_before(sequences, users[chunk], positions[chunk])
        scores = checked_scores(scorer, histories, columns, name)
        ranks[chunk] = rank_targets(scores, histories, targets[chunk], exclude_seen=exclude_seen)
        lists[chunk] = top_k(scores, histories, LIST_LENGTH, exclude_seen=exclude_seen)
        if report is not None:
            report(ranks[: start + len(histories)])
    return Ranking(ranks, lists)


def checked_scores(scorer: Scorer, histories: Sequence[History], columns: int, name: str) -> Scores:
    """Ask the model for scores; raise `DataError` when they cannot be ranked."""
    scores = scorer.scores(histories)
    if scores.shape != (len(histories), columns):
        raise DataError(
            f"model '{name}': scores of shape {scores.shape} for {len(histories)} histories, "
            f"expected {(len(histories), columns)}; was it trained on these sequences?"
        )
    bad = np.isnan(scores[:, 1:])
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"model '{name}': {np.count_nonzero(bad):,} of {bad.size:,} scores are NaN, the first "
            f"for item index {column + 1} after a history of {len(histories[row])} items; expected "
            "numbers only. Its training has probably diverged: lower its learning rate and retrain"
        )
    return scores


def _considered(scores: Scores, histories: Sequence[History], *, exclude_seen: bool) -> Scores:
    # A model's own -inf still ranks, at the end; only what is left out falls below every item.
    considered = np.maximum(scores, _LOWEST)
    considered[:, PADDING] = -np.inf
    if exclude_seen and histories:
        lengths = [len(history) for history in histories]
        rows = np.repeat(np.arange(len(histories)), lengths)
        considered[rows, np.concatenate(histories)] = -np.inf
    return considered
