"""How sure the figures are: a paired bootstrap over users.

Users are drawn with replacement, the same draw for every model, so differences between models are
measured on the same people (Efron and Tibshirani 1993, chapter 16). Where the bootstrap has nothing
to draw from it would claim a certainty that the data do not hold; two exact bounds step in there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
MIN_USERS = 30
"""With fewer users intervals come from Hoeffding's inequality and are marked as too few."""
DIGITS = 6
"""Further ones depend on the order in which a processor sums."""
_BLOCK_CELLS = 2**16
"""Users drawn at once, few enough to stay in the processor's cache until they are counted."""
_PRODUCT_CELLS, _PRODUCT_DRAWS, _PRODUCT_USERS = 2**22, 64, 2**16
"""Draws whose sums are found together: so many cells of them, so many draws at least, by parts."""
_ROUNDING = 1e-12


class MetricValue(TypedDict):
    """A mean and its 95 % interval, as they are written down."""

    value: float
    ci95: list[float]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> MetricValue:
        """Rounded, to be written down."""
        low, high = round(self.low, DIGITS), round(self.high, DIGITS)
        return {"value": round(self.value, DIGITS), "ci95": [low, high]}


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with its 95 % interval and two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Bootstrap:
    """Means of every column and their resampled counterparts, from one set of draws.

    - `means` float64 [columns]; `resampled` float64 [resamples, columns]
    """

    users: int
    means: Floats
    resampled: Floats

    @classmethod
    def draw(cls, values: Floats, resamples: int, seed: int) -> "Bootstrap":
        """Resample the users of `values`, float64 [users, columns], each value within [0, 1]."""
        return cls(
            users=len(values),
            means=values.mean(axis=0),
            resampled=resampled_means(values, resamples, seed),
        )

    @property
    def enough(self) -> bool:
        """Whether there are enough users for a bootstrap."""
        return self.users >= MIN_USERS

    def interval(self, column: int) -> Interval:
        """Give the mean of one column with its percentile interval."""
        value = float(self.means[column])
        if not self.enough:
            return Interval(value, *_hoeffding(value, self.users, 0.0, 1.0))
        return Interval(value, *_bounds(self.resampled[:, column], value, self.users, 0.0, 1.0))

    def difference(self, a: int, b: int) -> Difference:
        """Column `a` less column `b`, user by user, with interval and two-sided p-value.

        p is twice the smaller share of resamples on either side of zero, each share counted as
        (k + 1) / (resamples + 1), so it is never 0.
        """
        value = float(self.means[a] - self.means[b])
        if not self.enough:
            bounds = _hoeffding(value, self.users, -1.0, 1.0)
            p = 2.0 * float(np.exp(-self.users * value**2 / 2.0))
            return Difference(value, *bounds, min(1.0, p))
        # Equal models differ by rounding only, which must not count as a side.
        drawn = self.resampled[:, a] - self.resampled[:, b]
        drawn[np.abs(drawn) < _ROUNDING] = 0.0
        tails = [int(np.count_nonzero(side)) for side in (drawn <= 0.0, drawn >= 0.0)]
        p = 2.0 * (min(tails) + 1) / (len(drawn) + 1)
        return Difference(value, *_bounds(drawn, value, self.users, -1.0, 1.0), min(1.0, p))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number: any below a level, and the chance of one false is below it.

    Holm, Scandinavian Journal of Statistics 1979: the smallest of n is multiplied by n, the next by
    n − 1 and so on; none becomes smaller than one before it.
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p)[order] * factors), 1.0)
    return [float(value) for value in corrected]


def resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Column means of `resamples` draws of all users with replacement.

    `values` float64 [users, columns]. Each draw is a vector of how often each user came up, so many
    draws are a matrix product for all columns. Returns float64 [resamples, columns].
    """
    users = len(values)
    generator = np.random.default_rng(seed)
    rows = min(resamples, max(_PRODUCT_DRAWS, _PRODUCT_CELLS // users))
    means = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, rows):
        times = _times_drawn(generator, min(rows, resamples - start), users)
        sums = np.zeros((len(times), values.shape[1]))
        for first in range(0, users, _PRODUCT_USERS):
            part = slice(first, first + _PRODUCT_USERS)
            sums += times[:, part].astype(np.float64) @ values[part]
        means[start : start + rows] = sums / users
    return means


def _times_drawn(generator: np.random.Generator, draws: int, users: int) -> NDArray[np.uint8]:
    """How often each user comes up in each draw: [draws, users]; 256 times is out of reach."""
    times = np.zeros((draws, users), dtype=np.uint8)
    rows, piece = max(1, _BLOCK_CELLS // users), min(users, _BLOCK_CELLS)
    for start in range(0, draws, rows):
        block = times[start : start + rows]
        firsts = np.arange(len(block))[:, None] * users
        for first in range(0, users, piece):
            size = (len(block), min(piece, users - first))
            drawn = firsts + generator.integers(0, users, size=size)
            np.add.at(block.reshape(-1), drawn.ravel(), np.uint8(1))
    return times


def _hoeffding(value: float, users: int, lowest: float, highest: float) -> tuple[float, float]:
    # Holds for any distribution between lowest and highest, however few the users.
    reach = (highest - lowest) * float(np.sqrt(np.log(2 / (1 - LEVEL)) / (2 * users)))
    return max(lowest, value - reach), min(highest, value + reach)


def _bounds(
    drawn: Floats, value: float, users: int, lowest: float, highest: float
) -> tuple[float, float]:
    if np.ptp(drawn) < _ROUNDING:
        # Every user is alike, so every draw is. What may still differ is a share of people of whom
        # none is among these users: the exact binomial bound for 0 of n, about 3.7 / n.
        share = 1.0 - ((1 - LEVEL) / 2) ** (1 / users)
        return value - share * (value - lowest), value + share * (highest - value)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
