"""From the rank of the true next item to HR@k, NDCG@k and MRR, one value a user."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HEADLINE = "ndcg@10"
HEADLINE_CUTOFF = 10


def hit_rate(ranks: NDArray[np.integer], k: int) -> Floats:
    """HR@k: 1 where the target is among the first `k`, else 0. float64 [users].

    With one target a user this is Recall@k, too.
    """
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: NDArray[np.integer], k: int) -> Floats:
    """NDCG@k with one relevant item, 1 / log2(rank + 1) within the first `k`. float64 [users]."""
    return np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)


def reciprocal_rank(ranks: NDArray[np.integer], k: int | None = None) -> Floats:
    """1 / rank, within the first `k` or over the whole catalogue; its mean is MRR@k or MRR. [users]."""
    found: Floats = 1.0 / ranks
    return found if k is None else np.where(ranks <= k, found, 0.0)


def metric_names(cutoffs: Iterable[int]) -> list[str]:
    """Name what `per_user` returns, in its order; 10 is always among the cutoffs."""
    return [
        *(
            f"{metric}@{k}"
            for k in sorted({*cutoffs, HEADLINE_CUTOFF})
            for metric in ("hr", "ndcg", "mrr")
        ),
        "mrr",
    ]


def per_user(ranks: NDArray[np.integer], cutoffs: Iterable[int]) -> dict[str, Floats]:
    """Every metric of every user.

    `ranks` int [users] counts from 1. Returns name → float64 [users] for HR@k, NDCG@k and MRR@k at
    each cutoff (10 is added when missing, since the headline needs it) and for the reciprocal rank.
    """
    columns: list[Floats] = []
    for k in sorted({*cutoffs, HEADLINE_CUTOFF}):
        columns += [hit_rate(ranks, k), ndcg(ranks, k), reciprocal_rank(ranks, k)]
    columns.append(reciprocal_rank(ranks))
    return dict(zip(metric_names(cutoffs), columns, strict=True))
