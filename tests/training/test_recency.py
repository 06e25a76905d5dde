import numpy as np
import pytest

from slmrec.data.sequences import Sequences
from slmrec.training.recency import choose_half_life, recency_weights

DAY = 86_400


def log(days: list[list[float]], items: list[list[int]], held_out: int = 1) -> Sequences:
    """Users with items at given days; the last item is validation, none is test."""
    lengths = [len(history) for history in items]
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    return Sequences(
        offsets=offsets,
        items=np.concatenate([np.asarray(h, dtype=np.int32) for h in items]),
        timestamps=(np.concatenate([np.asarray(d) for d in days]) * DAY).astype(np.int64),
        train_end=offsets[1:] - held_out,
        validation_end=offsets[1:],
        item_count=max(max(history) for history in items),
    )


def test_weight_halves_with_every_half_life_and_averages_one() -> None:
    sequences = log([[0, 4, 8, 9]], [[1, 2, 3, 4]])
    weights = recency_weights(sequences, half_life_days=4)
    assert weights[2] / weights[1] == pytest.approx(2)
    assert weights[2] / weights[0] == pytest.approx(4)
    assert weights[:3].mean() == pytest.approx(1)
    assert weights[3] == weights[2]  # what lies after training is no older than the newest


def crowd(followed_now: list[int]) -> Sequences:
    """200 users: long ago all took item 1 … 12, on the last days they take `followed_now`."""
    rng = np.random.default_rng(0)
    items, days = [], []
    for _ in range(200):
        old = rng.permutation(np.arange(1, 13))[:6]
        new = rng.permutation(followed_now)[:2]
        items.append([*old, *new])
        days.append([*np.sort(rng.uniform(0, 90, 6)), 99.0, 100.0])
    return log(days, items)


def test_short_half_life_is_chosen_when_only_the_last_days_predict() -> None:
    sequences = crowd([20, 21])
    users, targets = sequences.targets("validation")
    half_life = choose_half_life(sequences, users, targets)
    assert half_life is not None
    assert half_life <= 30


def test_no_half_life_is_chosen_when_old_targets_predict_as_well() -> None:
    rng = np.random.default_rng(1)
    items = [rng.choice(np.arange(1, 40), 8, replace=False).tolist() for _ in range(200)]
    sequences = log([np.sort(rng.uniform(0, 100, 8)).tolist() for _ in range(200)], items)
    users, targets = sequences.targets("validation")
    assert choose_half_life(sequences, users, targets) is None


def pairs(recent: list[int]) -> Sequences:
    """200 users walk pairs (n, n + 1): long ago any, of late two of those that start with `recent`."""
    rng = np.random.default_rng(2)
    items, days = [], []
    for _ in range(200):
        old = 1 + 2 * rng.choice(np.arange(4, 8), 2, replace=False)
        new = rng.choice(recent, 2, replace=False)
        items.append([n for start in (*old, *new) for n in (start, start + 1)])
        days.append([*np.sort(rng.uniform(0, 90, 4)), 98.0, 98.5, 99.0, 100.0])
    return log(days, items)


def test_no_half_life_is_chosen_when_transitions_say_more_than_what_is_new() -> None:
    sequences = pairs([1, 3, 5, 7])
    users, targets = sequences.targets("validation")
    assert choose_half_life(sequences, users, targets) is None


def test_no_half_life_is_chosen_when_there_is_nothing_to_validate_on() -> None:
    sequences = crowd([20, 21])
    empty = np.asarray([], dtype=np.int64)
    assert choose_half_life(sequences, empty, empty) is None


def test_weight_is_never_zero_however_old_the_target() -> None:
    sequences = log([[0, 5000, 5001, 5002]], [[1, 2, 3, 4]])
    weights = recency_weights(sequences, half_life_days=1)
    assert 0 < weights[0] < 1e-6
    assert np.isfinite(weights).all()
