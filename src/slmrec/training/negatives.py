"""Items drawn to stand for the whole catalogue, so that a loss need not score all of it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.config import Training
from slmrec.data.sequences import Sequences

UNIGRAM_POWER = 0.75
"""On training counts, for `sampled_softmax`; the exponent of Mikolov et al. (arXiv 1310.4546)."""


@dataclass(frozen=True)
class Negatives:
    """One draw, shared by all positions of a batch."""

    items: Tensor
    """int64 [negatives], 1 … items."""
    log_q: Tensor
    """float32 [items + 1]: log of how often a draw is expected to hold each item; 0 for padding."""
    calibration: float | None
    """Of `gbce`; none for `sampled_softmax`."""


class NegativeSampler:
    """Draws `training.negatives` items a batch, an item almost never twice.

    The catalogue is laid on a line, each item as long as it is expected to be drawn, and one point is
    taken at random from every stretch of length 1: the expected counts are exact, and a draw costs
    the logarithm of the catalogue. With as many negatives as items a draw holds every item once.
    """

    def __init__(self, sequences: Sequences, config: Training, device: torch.device) -> None:
        """Count the training interactions. `config.loss` must be a sampled one."""
        counts = np.bincount(sequences.train_items(), minlength=sequences.item_count + 1)[1:]
        # One more each, or nothing would hold down the score of an item that nobody trained on.
        power = UNIGRAM_POWER if config.loss == "sampled_softmax" else 0.0
        self._draws = min(config.negatives, sequences.item_count)
        expected = expected_counts(np.power(counts + 1.0, power), self._draws)
        self._order = np.argsort(-expected, kind="stable")  # the certain ones fill whole stretches
        self._bounds = np.cumsum(expected[self._order])
        self._log_q = torch.from_numpy(np.log([1.0, *expected]).astype(np.float32)).to(device)
        self._calibration = config.gbce_calibration if config.loss == "gbce" else None

    def draw(self, rng: np.random.Generator) -> Negatives:
        """The items for the next batch."""
        points = np.arange(self._draws) + rng.random(self._draws)
        found = np.searchsorted(self._bounds, points, side="right")
        items = 1 + self._order[np.minimum(found, len(self._order) - 1)]
        return Negatives(torch.from_numpy(items), self._log_q, self._calibration)


def expected_counts(weights: NDArray[np.float64], draws: int) -> NDArray[np.float64]:
    """How often each item is drawn: in proportion to its weight, at most once, `draws` in all.

    `weights` [items], positive; `draws` at most items.
    """
    if draws == len(weights):
        return np.ones(len(weights))
    expected = weights * (draws / weights.sum())
    while (expected > 1.0).any():
        certain = expected >= 1.0
        expected = weights * ((draws - int(certain.sum())) / weights[~certain].sum())
        expected[certain] = 1.0
    return expected
