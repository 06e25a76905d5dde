"""The SLMRec paper's protocol: the target among sampled negatives, beside the full ranking.

Sampled metrics are not the full ones and may order models otherwise (Krichene and Rendle, KDD 2020);
they are measured to compare with published figures only. Unlike the paper's code the negatives are
drawn once, from a seed, and stored.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import Sequences
from slmrec.evaluation.bootstrap import Bootstrap, MetricValue
from slmrec.evaluation.metrics import Floats, hit_rate, ndcg, reciprocal_rank
from slmrec.evaluation.ranking import checked_scores, histories_before
from slmrec.models.scorer import Scorer

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
_ROWS = 256


@dataclass(frozen=True)
class Probe:
    """Some test users, evenly spread over the user index, and their negatives.

    - `users`, `positions` int64 [users] as `Sequences.targets` gives them
    - `negatives` int32 [users, count]: items that the user never touched; 0 where there are no more
    """

    users: Int64
    positions: Int64
    negatives: Int32


def draw_probe(
    sequences: Sequences, users: Int64, positions: Int64, most: int, count: int, seed: int
) -> Probe:
    """Choose up to `most` of the users and draw `count` negatives for each, uniformly, none twice.

    Nothing of a user's whole sequence is drawn, so neither is the target.
    """
    chosen = np.linspace(0, len(users) - 1, min(most, len(users))).astype(np.int64)
    generator = np.random.default_rng(seed)
    negatives = np.zeros((len(chosen), count), dtype=np.int32)
    for row, user in enumerate(users[chosen].tolist()):
        start, end = sequences.offsets[user], sequences.offsets[user + 1]
        free = np.ones(sequences.item_count + 1, dtype=bool)
        free[0] = False
        free[np.asarray(sequences.items[start:end])] = False
        left = np.flatnonzero(free)
        drawn = generator.choice(left, min(count, len(left)), replace=False)
        negatives[row, : len(drawn)] = np.sort(drawn)
    return Probe(users[chosen], positions[chosen], negatives)


def sampled_ranks(scorer: Scorer, sequences: Sequences, probe: Probe, name: str) -> Int32:
    """Rank each target among its negatives: 1 + those scored higher + equal ones of smaller index.

    Returns int32 [users]. Raises `DataError` when scores cannot be ranked.
    """
    targets = np.asarray(sequences.items[probe.positions], dtype=np.int64)
    ranks = np.empty(len(targets), dtype=np.int32)
    for start in range(0, len(targets), _ROWS):
        here = slice(start, start + _ROWS)
        histories = histories_before(sequences, probe.users[here], probe.positions[here])
        scores = checked_scores(scorer, histories, sequences.item_count + 1, name)
        rows = np.arange(len(histories))
        own = scores[rows, targets[here]][:, None]
        negatives = probe.negatives[here]
        theirs = np.take_along_axis(scores, negatives.astype(np.int64), axis=1)
        before = (theirs > own) | ((theirs == own) & (negatives < targets[here][:, None]))
        ranks[here] = 1 + (before & (negatives > 0)).sum(axis=1)
    return ranks


def sampled_metrics(ranks: Int32, resamples: int, seed: int) -> dict[str, MetricValue]:
    """HR@1, HR@5, NDCG@5 and MRR of sampled ranks, with intervals."""
    columns: dict[str, Floats] = {
        "hr@1": hit_rate(ranks, 1),
        "hr@5": hit_rate(ranks, 5),
        "ndcg@5": ndcg(ranks, 5),
        "mrr": reciprocal_rank(ranks),
    }
    drawn = Bootstrap.draw(np.stack(list(columns.values()), axis=1), resamples, seed)
    return {name: drawn.interval(place).as_json() for place, name in enumerate(columns)}
