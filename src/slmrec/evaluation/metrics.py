"""From the rank of the true next item to HR@k, NDCG@k and MRR, one value a user."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HEADLINE = "ndcg@10"
HEADLINE_CUTOFF = 10


def hit_rate(ranks: NDArray[np.integer], k: int) -> Floats:
    """HR@k: 1 where the target is among the first `k`, else 0. float64 [users]."""
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: NDArray[np.integer], k: int) -> Floats:
    """NDCG@k with one relevant item, 1 / log2(rank + 1) within the first `k`. float64 [users]."""
    return np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)


def reciprocal_rank(ranks: NDArray[np.integer]) -> Floats:
    """1 / rank over the whole catalogue, whose mean is MRR. float64 [users]."""
    return 1.0 / ranks


def metric_names(cutoffs: Iterable[int]) -> list[str]:
    """Name what `per_user` returns, in its order; 10 is always among the cutoffs."""
    return [
        *(
            f"{metric}@{k}"
            for k in sorted({*cutoffs, HEADLINE_CUTOFF})
            for metric in ("hr", "ndcg")
        ),
        "mrr",
    ]


def per_user(ranks: NDArray[np.integer], cutoffs: Iterable[int]) -> dict[str, Floats]:
    """Every metric of every user.

    `ranks` int [users] counts from 1. Returns name → float64 [users] for HR@k and NDCG@k at each
    cutoff (10 is added when missing, since the headline needs it) and for the reciprocal rank.
    """
    columns: list[Floats] = []
    for k in sorted({*cutoffs, HEADLINE_CUTOFF}):
        columns += [hit_rate(ranks, k), ndcg(ranks, k)]
    columns.append(reciprocal_rank(ranks))
    return dict(zip(metric_names(cutoffs), columns, strict=True))
