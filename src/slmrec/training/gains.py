"""How much counted evidence should count beside a network's scores, read from validation."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import Int64, Sequences
from slmrec.evaluation.metrics import ndcg
from slmrec.evaluation.ranking import histories_before, rank_targets
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
        wanted = np.asarray(sequences.items[targets[chunk]])

        def quality(
            ranked: Floats,
            histories: list[History] = histories,
            wanted: NDArray[np.int32] = wanted,
        ) -> NDArray[np.float64]:
            return ndcg(rank_targets(ranked, histories, wanted, exclude_seen=True), 10)

        base, added = scores(histories), evidence(histories)
        names = tuple(added)
        for combination in product(GAINS, repeat=len(names)):
            total = base
            for gain, name in zip(combination, names, strict=True):
                if gain:
                    total = total + np.float32(gain) * added[name]
            hits.setdefault(combination, []).append(quality(total))
        for name in names:
            hits.setdefault(name, []).append(quality(added[name]))
    means = {tried: float(np.concatenate(values).mean()) for tried, values in hits.items()}
    combinations = [tried for tried in means if isinstance(tried, tuple)]
    best = max(combinations, key=lambda tried: (means[tried], -sum(tried)))
    quality_of = {
        "together": means[best],
        "scores": means[(0.0,) * len(names)],
        **{name: means[name] for name in names},
    }
    return dict(zip(names, best, strict=True)), quality_of
