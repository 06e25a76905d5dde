"""What a statistic of two windows says: an effect, a p-value by permuting users, what it touches.

The unit that is permuted is a user in a window, because a user's interactions hang together:
permuting interactions would take a handful of heavy users for a change of the world.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]

from slmrec.data.sequences import Int64
from slmrec.drift.thresholds import FAMILIES, StatisticName

Float = NDArray[np.float64]
BLOCK_CELLS = 4_000_000
"""Numbers of one matrix of permutations that are held at once."""


@dataclass(frozen=True)
class Difference:
    """One statistic of two windows."""

    name: StatisticName
    family: str
    reference: float | None
    """The statistic in the reference window; None where only the difference has a value."""
    current: float | None
    effect: float
    """How large the difference is, never negative, in the unit of `DriftThresholds`."""
    p: float
    touched_share: float
    """Share of the current traffic that would have to be different for the windows to agree."""


def difference(
    name: StatisticName,
    reference: float | None,
    current: float | None,
    effect: float,
    p: float,
    touched_share: float,
) -> Difference:
    """A difference in the family of its name."""
    return Difference(name, FAMILIES[name], reference, current, effect, p, touched_share)


def not_comparable(
    name: StatisticName, reference: float | None = None, current: float | None = None
) -> Difference:
    """A statistic that at least one of the windows does not have."""
    return difference(name, reference, current, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Ratio:
    """A sum over users divided by another, in both windows and in every permutation."""

    before: float
    after: float
    p: float

    @property
    def change(self) -> float:
        """How far the windows are apart."""
        return abs(self.after - self.before)


@dataclass(frozen=True)
class ItemSpread:
    """How items are spread over the users of both windows, observed and by permutation."""

    divergence: float
    """Jensen-Shannon divergence in bits."""
    divergences: Float
    """The same of each permutation."""
    moved: float
    """Total variation above what permutations give: the share that would have to be another item."""
    distinct: tuple[int, int]
    """Different items in the reference and in the current window."""
    distincts: Float
    """Current less reference, of each permutation."""

    @property
    def by_chance(self) -> float:
        """Mean divergence of the permutations."""
        return float(self.divergences.mean())

    @property
    def excess(self) -> float:
        """Divergence above chance, never negative."""
        return max(0.0, self.divergence - self.by_chance)


class Lot:
    """The users of both windows, those of the reference first, and how permutations part them.

    A p-value is (k + 1) / (permutations + 1) with k the permutations that differ at least as much.
    """

    def __init__(self, old: int, new: int, permutations: int, rng: np.random.Generator) -> None:
        self.old, self.new = old, new
        observed = np.zeros(old + new, dtype=np.float32)
        observed[old:] = 1
        self._observed = observed[None]
        self.labels = _parted(old, new, permutations, rng)
        """[permutations, users of both], 1 where a user counts as current"""

    def ratios(
        self, parts: Mapping[StatisticName, tuple[Float, Float]]
    ) -> dict[StatisticName, Ratio | None]:
        """Of (numerator, denominator) [users of both]; None where a window's denominator is 0."""
        columns = np.stack([column for pair in parts.values() for column in pair], axis=1)
        drawn = self._exact @ columns  # sums over the current side
        whole, after = columns.sum(axis=0), columns[self.old :].sum(axis=0)
        found: dict[StatisticName, Ratio | None] = {}
        for place, name in enumerate(parts):
            top, base = 2 * place, 2 * place + 1
            here, there = after[[top, base]], (whole - after)[[top, base]]
            if here[1] <= 0 or there[1] <= 0:
                found[name] = None
                continue
            now, before = here[0] / here[1], there[0] / there[1]
            drawn_now = _safe_ratio(drawn[:, top], drawn[:, base])
            drawn_before = _safe_ratio(whole[top] - drawn[:, top], whole[base] - drawn[:, base])
            p = p_value(np.abs(drawn_now - drawn_before), abs(now - before))
            found[name] = Ratio(float(before), float(now), p)
        return found

    def counted(self, rows: Int64, items: Int64) -> ItemSpread:
        """How items differ that users, by row, touched or were shown."""
        distinct, column = np.unique(items, return_inverse=True)
        ones = np.ones(len(items))
        counts = sparse.csr_array(
            (ones.astype(np.float32), (column, rows)), shape=(len(distinct), self.old + self.new)
        )
        total = np.asarray(counts.sum(axis=1), dtype=np.float64)[:, None]
        (divergence,), (moved,), (spread,) = _spread(counts, total, self._observed)
        block = max(1, BLOCK_CELLS // max(len(distinct), 1))
        drawn = [
            _spread(counts, total, self.labels[start : start + block])
            for start in range(0, len(self.labels), block)
        ]
        divergences, moves, spreads = (np.concatenate(part) for part in zip(*drawn, strict=True))
        current = counts[:, self.old :].sum(axis=1)
        now, before = int((current > 0).sum()), int((total[:, 0] - current > 0).sum())
        assert now - before == int(spread)
        return ItemSpread(
            float(divergence),
            divergences,
            max(0.0, float(moved - moves.mean())),
            (before, now),
            spreads,
        )

    @cached_property
    def _exact(self) -> Float:
        return self.labels.astype(np.float64)


def _parted(old: int, new: int, permutations: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows of `old` zeros and `new` ones by lot: whoever draws one of the highest numbers is a one."""
    labels = np.empty((permutations, old + new), dtype=np.float32)
    block = max(1, BLOCK_CELLS // (old + new))
    for start in range(0, permutations, block):
        drawn = rng.random((min(block, permutations - start), old + new))
        if new:
            lowest = np.partition(drawn, old, axis=1)[:, old]
            labels[start : start + block] = drawn >= lowest[:, None]  # two in 2^53 alike: no matter
        else:
            labels[start : start + block] = 0
    return labels


def p_value(drawn: Float, observed: float) -> float:
    """(k + 1) / (n + 1), with k of the n drawn values at least as large as the observed one."""
    # The slack keeps ties ties: equal sums in another order differ in their last bits.
    slack = 1e-6 * max(1.0, abs(observed)) if observed else 0.0
    return float((np.count_nonzero(drawn >= observed - slack) + 1) / (len(drawn) + 1))


def benjamini_hochberg(p_values: list[float], rate: float) -> list[bool]:
    """Which hypotheses fall at a false discovery rate (Benjamini and Hochberg, 1995)."""
    order = np.argsort(p_values, kind="stable")
    limits = rate * np.arange(1, len(order) + 1) / len(order)
    below = np.flatnonzero(np.asarray(p_values)[order] <= limits)
    rejected = np.zeros(len(order), dtype=bool)
    if len(below):
        rejected[order[: below[-1] + 1]] = True
    return [bool(value) for value in rejected]


def largest_gap(old: Float, new: Float) -> float:
    """Kolmogorov-Smirnov distance: the largest difference of the two distribution functions."""
    if not len(old) or not len(new):
        return 0.0
    points = np.union1d(old, new)
    below_old = np.searchsorted(np.sort(old), points, side="right") / len(old)
    below_new = np.searchsorted(np.sort(new), points, side="right") / len(new)
    return float(np.abs(below_new - below_old).max())


def relative(before: float, after: float) -> float:
    """The larger of two positive numbers over the smaller, less 1."""
    return max(before, after) / min(before, after) - 1


def lost_share(before: float, after: float) -> float:
    """How much of the larger the smaller lacks: from 0, alike, to 1; neither is negative."""
    high = max(before, after)
    return abs(after - before) / high if high > 0 else 0.0


def _spread(
    counts: sparse.csr_array, total: Float, labels: NDArray[np.float32]
) -> tuple[Float, Float, Float]:
    """For each row of labels: divergence in bits, total variation, how many more distinct items."""
    current = np.asarray(counts @ labels.T, dtype=np.float64)  # [items, permutations]
    rest = total - current
    p = current / np.maximum(current.sum(axis=0), 1)
    q = rest / np.maximum(rest.sum(axis=0), 1)
    divergence = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    distinct = np.count_nonzero(current > 0, axis=0) - np.count_nonzero(rest > 0, axis=0)
    return divergence, np.abs(p - q).sum(axis=0) / 2, distinct.astype(np.float64)


def _entropy(shares: Float) -> Float:
    logarithms = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Float = -(shares * logarithms).sum(axis=0)
    return entropy


def _safe_ratio(top: Float, base: Float) -> Float:
    return np.divide(top, base, out=np.zeros_like(top), where=base > 0)
