"""How much counted evidence should count beside a network's scores, read from validation."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.data.sequences import PADDING, Int64, Sequences
from slmrec.evaluation.metrics import ndcg
from slmrec.evaluation.ranking import histories_before
from slmrec.models.scorer import History

Floats = NDArray[np.float32]
GAINS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Tried for each kind of evidence; NDCG hardly moves between neighbours."""
GAIN_USERS = 8000
"""Validation users that gains are fitted on. With 2,000 the best gain of a log was .5, 1 or 1.5 by
chance; their differences are a hundredth of NDCG@10."""
_CHUNK_BYTES = 64 * 2**20


def fit_gains(
    scores: Callable[[Sequence[History]], Floats],
    evidence: Callable[[Sequence[History]], Mapping[str, Floats]],
    sequences: Sequences,
    users: Int64,
    targets: Int64,
) -> tuple[dict[str, float], dict[str, float]]:
    """Find the gains under which scores + Σ gain · evidence give the best NDCG@10.

    Both functions give float32 [histories, items + 1]. `users` and `targets` (positions) are
    validation ones. The smallest of equally good gains are taken. Returns the gains, and the NDCG@10
    of all (`together`), of the scores (`scores`) and of each evidence alone.
    """
    rows = max(1, _CHUNK_BYTES // (4 * (sequences.item_count + 1)))
    names: tuple[str, ...] = ()
    hits: dict[tuple[float, ...] | str, list[NDArray[np.float64]]] = {}
    for low in range(0, len(users), rows):
        chunk = slice(low, low + rows)
        histories = histories_before(sequences, users[chunk], targets[chunk])
        ranks = _Ranks(histories, np.asarray(sequences.items[targets[chunk]]))
        base, added = scores(histories), evidence(histories)
        names = tuple(added)
        parts = [torch.from_numpy(np.ascontiguousarray(added[name])) for name in names]
        alone, total = torch.from_numpy(base), torch.empty(base.shape)
        for combination in product(GAINS, repeat=len(names)):
            total.copy_(alone)
            for gain, part in zip(combination, parts, strict=True):
                if gain:
                    total.add_(part, alpha=gain)
            hits.setdefault(combination, []).append(ndcg(ranks.of(total), 10))
        for name, part in zip(names, parts, strict=True):
            hits.setdefault(name, []).append(ndcg(ranks.of(total.copy_(part)), 10))
    means = {tried: float(np.concatenate(values).mean()) for tried, values in hits.items()}
    combinations = [tried for tried in means if isinstance(tried, tuple)]
    best = max(combinations, key=lambda tried: (means[tried], -sum(tried)))
    quality_of = {
        "together": means[best],
        "scores": means[(0.0,) * len(names)],
        **{name: means[name] for name in names},
    }
    return dict(zip(names, best, strict=True)), quality_of


class _Ranks:
    """`rank_targets` for many scores of the same users, seen items left out, without copies."""

    def __init__(self, histories: Sequence[History], wanted: NDArray[np.int32]) -> None:
        lengths = [len(history) for history in histories]
        self._rows = np.repeat(np.arange(len(histories)), lengths)
        self._seen = np.concatenate([*histories, np.empty(0, np.int32)])
        self._wanted = wanted.astype(np.int64)

    def of(self, spent: Tensor) -> NDArray[np.int32]:
        """Ranks of the wanted items; `spent` [users, items + 1] are scores that nobody needs again."""
        scores: Floats = spent.numpy()
        own = np.take_along_axis(scores, self._wanted[:, None], axis=1)
        scores[self._rows, self._seen] = -np.inf
        scores[:, PADDING] = -np.inf
        above = np.count_nonzero(scores > own, axis=1)
        equal = scores == own
        before = np.zeros(len(own), np.int64)
        for row in np.flatnonzero(np.count_nonzero(equal, axis=1) > 1):  # there are hardly any
            before[row] = np.count_nonzero(equal[row, : self._wanted[row]])
        ranks: NDArray[np.int32] = (1 + above + before).astype(np.int32)
        return ranks
