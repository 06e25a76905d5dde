"""How much older training targets should count, read from the data.

In some logs what is consumed next hangs on what is new this week, in others last year is as good a
teacher as yesterday. The weight of a target halves with every half-life before the newest training
interaction. The half-life is the one under which plain popularity predicts the validation items best,
and there is none unless that is clearly better than counting all alike, and better than item
transitions: where who-follows-whom says more than what-is-new, old histories are what teaches it.
"""

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import Int64, Sequences
from slmrec.evaluation.metrics import ndcg
from slmrec.evaluation.ranking import rank_users
from slmrec.models.transitions import Transitions

HALF_LIVES_DAYS = (1.0, 2.0, 4.0, 7.0, 14.0, 30.0, 90.0, 365.0)
MOST_HALVINGS = 30.0
CLEARLY_BETTER = 1.25
"""Least factor on NDCG@10 that a half-life must win over counting all alike …"""
STANDARD_ERRORS = 3.0
"""… and least distance of the paired difference from zero."""


def choose_half_life(sequences: Sequences, users: Int64, targets: Int64) -> float | None:
    """The half-life in days under which popularity predicts these targets best, or none.

    `users` and `targets` (positions) are validation ones: nothing of the test is looked at.
    """
    if not len(users):
        return None
    alike = _popularity_ndcg(sequences, None, users, targets)
    tried = [_popularity_ndcg(sequences, days, users, targets) for days in HALF_LIVES_DAYS]
    best = int(np.argmax([values.mean() for values in tried]))
    followers = rank_users(
        Transitions.fit(sequences), sequences, users, targets, exclude_seen=True, name="transitions"
    )
    difference = tried[best] - alike
    error = difference.std() / np.sqrt(len(difference))
    clear = (
        tried[best].mean() >= CLEARLY_BETTER * alike.mean()
        and difference.mean() > STANDARD_ERRORS * error
        and tried[best].mean() > ndcg(followers.ranks, 10).mean()
    )
    return HALF_LIVES_DAYS[best] if clear else None


def recency_weights(sequences: Sequences, half_life_days: float) -> NDArray[np.float32]:
    """What each interaction counts as a training target: float32 [interactions].

    Half as much for every `half_life_days` before the newest training interaction; the mean over
    the training interactions is 1.
    """
    train = sequences.split_mask("train")
    times = sequences.timestamps.astype(np.float64)
    age = np.maximum(times[train].max(initial=0.0) - times, 0.0) / 86_400
    # Never quite zero: a batch may hold nothing but old targets.
    weights = np.exp2(-np.minimum(age / half_life_days, MOST_HALVINGS))
    return (weights / weights[train].mean()).astype(np.float32)


def _popularity_ndcg(
    sequences: Sequences, half_life_days: float | None, users: Int64, targets: Int64
) -> NDArray[np.float64]:
    """NDCG@10 of weighted popularity for each user, items of the history not ranked."""
    train = sequences.split_mask("train")
    weights = (
        recency_weights(sequences, half_life_days)[train].astype(np.float64)
        if half_life_days
        else np.ones(int(train.sum()))
    )
    popularity = np.bincount(
        sequences.items[train], weights=weights, minlength=sequences.item_count + 1
    )
    ordered = np.sort(popularity[1:])
    wanted = popularity[sequences.items[targets]]
    above = len(ordered) - np.searchsorted(ordered, wanted, side="right")
    starts = sequences.offsets[users]
    seen_above = [
        int((popularity[np.unique(sequences.items[start:end])] > value).sum())
        for start, end, value in zip(starts, targets, wanted, strict=True)
    ]
    return ndcg(1 + above - np.asarray(seen_above), 10)
