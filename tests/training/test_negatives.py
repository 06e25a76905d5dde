from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slmrec.config import Training
from slmrec.data.sequences import Sequences
from slmrec.training.negatives import NegativeSampler, expected_counts

CPU = torch.device("cpu")
Make = Callable[[list[list[int]]], Sequences]


def test_every_item_is_drawn_once_when_there_are_as_many_negatives(cycles: Sequences) -> None:
    for loss in ("sampled_softmax", "gbce"):
        sampler = NegativeSampler(cycles, Training(loss=loss, negatives=99), CPU)
        drawn = sampler.draw(np.random.default_rng(0))
        assert sorted(drawn.items.tolist()) == list(range(1, 13))
        assert drawn.log_q.tolist() == [0.0] * 13


def test_items_are_drawn_as_often_as_is_corrected_for(make_sequences: Make) -> None:
    # training counts of items 1 … 6: 8, 4, 2, 1, 1, 0; the last two of each user are held out
    histories = [[1] * 8 + [2] * 4 + [6, 6], [3, 3, 4, 5, 6, 6]]
    sampler = NegativeSampler(
        make_sequences(histories), Training(loss="sampled_softmax", negatives=2), CPU
    )
    rng = np.random.default_rng(1)
    draws = 4000
    found = np.zeros(7)
    for _ in range(draws):
        items = sampler.draw(rng).items.numpy()
        assert len(items) == 2
        np.add.at(found, items, 1)
    log_q = sampler.draw(rng).log_q.numpy()
    weights = np.asarray([9, 5, 3, 2, 2, 1]) ** 0.75
    np.testing.assert_allclose(np.exp(log_q[1:]), 2 * weights / weights.sum(), rtol=1e-5)
    np.testing.assert_allclose(found[1:] / draws, np.exp(log_q[1:]), atol=0.03)


def test_gbce_draws_uniformly_and_carries_its_calibration(make_sequences: Make) -> None:
    sequences = make_sequences([[1] * 8 + [2, 3, 4, 5]])
    config = Training(loss="gbce", negatives=2, gbce_calibration=0.5)
    drawn = NegativeSampler(sequences, config, CPU).draw(np.random.default_rng(0))
    np.testing.assert_allclose(drawn.log_q[1:].exp(), 2 / 5, rtol=1e-6)
    assert drawn.calibration == 0.5


def test_draws_are_the_same_when_the_generator_is(cycles: Sequences) -> None:
    sampler = NegativeSampler(cycles, Training(loss="sampled_softmax", negatives=4), CPU)
    first, second = (sampler.draw(np.random.default_rng(5)).items for _ in range(2))
    assert torch.equal(first, second)


@given(
    weights=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30),
    share=st.floats(0.01, 1.0),
)
def test_expected_counts_are_proportional_up_to_one(weights: list[float], share: float) -> None:
    array = np.asarray(weights)
    draws = max(int(share * len(weights)), 1)
    expected = expected_counts(array, draws)
    assert expected.sum() == pytest.approx(draws)
    assert expected.max() <= 1.0
    below = expected < 1.0
    ratio = expected[below] / array[below]
    assert np.allclose(ratio, ratio[:1])
    # none that is certain deserved less than the others' rate
    assert (array[~below] * ratio[:1].sum() >= (1.0 - 1e-9) * below.any()).all()
