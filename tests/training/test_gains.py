import numpy as np
import pytest

from slmrec.data.sequences import Sequences
from slmrec.training.gains import GAINS, fit_gains

ITEMS, USERS = 40, 60


@pytest.fixture
def sequences() -> Sequences:
    generator = np.random.default_rng(0)
    offsets = np.arange(USERS + 1, dtype=np.int64) * 3
    # Distinct items, so that the target is never a seen one.
    items = np.concatenate([generator.permutation(ITEMS)[:3] + 1 for _ in range(USERS)])
    return Sequences(
        offsets=offsets,
        items=items.astype(np.int32),
        timestamps=np.zeros(3 * USERS, np.int64),
        train_end=offsets[:-1] + 1,
        validation_end=offsets[:-1] + 2,
        item_count=ITEMS,
    )


def fit(sequences: Sequences, scores: np.ndarray, **added: np.ndarray):
    users, targets = sequences.targets("validation")
    # A history of one item tells which user is asked for only through the order of the calls.
    done = {"scores": 0, "evidence": 0}

    def rows(which: str, count: int) -> slice:
        done[which] += count
        return slice(done[which] - count, done[which])

    return fit_gains(
        lambda histories: scores[rows("scores", len(histories))],
        lambda histories: {
            name: values[chunk]
            for chunk in [rows("evidence", len(histories))]
            for name, values in added.items()
        },
        sequences,
        users,
        targets,
    )


def perfect(sequences: Sequences) -> np.ndarray:
    scores = np.zeros((USERS, ITEMS + 1), np.float32)
    scores[np.arange(USERS), sequences.items[1::3]] = 1
    return scores


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(USERS, ITEMS + 1)).astype(np.float32)


def test_a_gain_is_zero_when_its_evidence_only_disturbs(sequences: Sequences) -> None:
    gains, quality = fit(sequences, perfect(sequences), noise=noise(1))
    assert gains == {"noise": 0.0}
    assert quality["together"] == quality["scores"] == 1.0
    assert quality["noise"] < 0.5


def test_evidence_counts_when_it_knows_what_the_scores_do_not(sequences: Sequences) -> None:
    known = 10 * perfect(sequences)
    gains, quality = fit(sequences, noise(1), known=known, noise=noise(2))
    assert gains["known"] > 0
    assert gains["noise"] == 0.0
    assert quality["together"] == quality["known"] == 1.0


def test_the_smaller_gain_is_taken_when_both_are_as_good(sequences: Sequences) -> None:
    gains, _ = fit(sequences, noise(1), known=1000 * perfect(sequences))
    assert gains == {"known": GAINS[1]}


def test_ndcg_is_that_of_the_weighted_sum_when_asked_for_together(sequences: Sequences) -> None:
    scores, known = noise(3), 2 * perfect(sequences)
    gains, quality = fit(sequences, scores, known=known)
    total = scores + gains["known"] * known
    _, targets = sequences.targets("validation")
    expected = []
    for row, target in enumerate(sequences.items[targets]):
        mine = total[row].copy()
        mine[[0, sequences.items[3 * row]]] = -np.inf
        rank = 1 + int((mine > mine[target]).sum())
        expected.append(1 / np.log2(rank + 1) if rank <= 10 else 0.0)
    assert quality["together"] == pytest.approx(np.mean(expected))
