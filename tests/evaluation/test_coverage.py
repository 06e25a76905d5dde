"""How often the intervals hold the truth, in a thousand repetitions of an evaluation."""

import numpy as np
import pytest

from slmrec.evaluation.bootstrap import Bootstrap
from slmrec.evaluation.metrics import ndcg

REPETITIONS, USERS, RESAMPLES = 1000, 500, 1000
# Ranks of a target under two models: what share of users they give which rank.
RANKS = np.array([1, 2, 3, 5, 8, 10, 50])
ONE = np.array([0.10, 0.06, 0.05, 0.05, 0.04, 0.03, 0.67])
OTHER = np.array([0.08, 0.06, 0.05, 0.05, 0.05, 0.04, 0.67])


@pytest.mark.slow
def test_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    gains = ndcg(RANKS, 10)
    truth, difference = gains @ ONE, gains @ ONE - gains @ OTHER
    generator = np.random.default_rng(0)
    held = np.zeros(2)
    for repetition in range(REPETITIONS):
        # Both models are asked about the same person: the same number decides, as on one log.
        luck = generator.random(USERS)
        pair = [gains[np.searchsorted(np.cumsum(shares)[:-1], luck)] for shares in (ONE, OTHER)]
        drawn = Bootstrap.draw(np.stack(pair, axis=1), RESAMPLES, seed=repetition)
        mean, apart = drawn.interval(0), drawn.difference(0, 1)
        held += [mean.low <= truth <= mean.high, apart.low <= difference <= apart.high]
    assert (held / REPETITIONS >= 0.93).all()
    assert (held / REPETITIONS <= 0.97).all()
