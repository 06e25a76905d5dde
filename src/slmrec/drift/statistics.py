"""How two windows differ: effect sizes, permutation p-values, Benjamini-Hochberg.

The unit that is permuted is a user in a window, because a user's interactions hang together:
permuting interactions would take a handful of heavy users for a change of the world.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]

from slmrec.data.sequences import Int64
from slmrec.drift.thresholds import FAMILIES, NAMES, StatisticName
from slmrec.drift.windows import Window

Float = NDArray[np.float64]
_BLOCK_CELLS = 4_000_000
_MAX_BINS = 2000
_MIN_BINS = 8
_DAY = 86_400.0


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


@dataclass(frozen=True)
class _Side:
    """A window's sampled users, one row a user, and their interactions, user after user."""

    users: int
    length: Float  # [users] interactions in the window
    new: Float  # [users] 1 where the window before did not hold the user
    new_items: Float  # [users] interactions with items that the window before did not hold
    by_new_item: Float  # [items of the log] interactions with each such item
    repeats: Float  # [users] interactions with an item the user already had in the window
    gap_sum: Float  # [users] sum of log(1 + seconds) between neighbouring interactions
    gap_count: Float  # [users]
    row: Int64  # [interactions] the user's row
    items: Int64  # [interactions]
    gaps: Float  # [gaps] log(1 + seconds)


def compare(
    reference: Window,
    current: Window,
    *,
    permutations: int,
    max_users: int,
    rng: np.random.Generator,
) -> list[Difference]:
    """Every statistic of `current` against `reference`, in the order of `NAMES`.

    At most `max_users` users of each side are used, drawn by lot. A p-value is
    (k + 1) / (permutations + 1) with k the permutations that differ at least as much.
    """
    old, new = _side(reference, max_users, rng), _side(current, max_users, rng)
    is_current = np.zeros(old.users + new.users, dtype=np.float32)
    is_current[old.users :] = 1
    labels = rng.permuted(
        np.broadcast_to(is_current, (permutations, len(is_current))), axis=1
    )  # [permutations, users of both]
    found = {
        "interactions_per_day": _volume(reference, current, permutations, rng),
        "item_popularity": _popularity(old, new, labels),
        **_ratios(old, new, labels),
    }
    # Which items happened to be new is chance too, shared by all users: the p-value over users alone
    # alarmed on one log without drift in twelve. So the new items have to agree among themselves.
    arrivals = found["new_item_share"]
    by_item = _new_item_p(old, new, permutations, rng)
    found["new_item_share"] = replace(arrivals, p=max(arrivals.p, by_item))
    return [found[name] for name in NAMES]


def benjamini_hochberg(p_values: list[float], rate: float) -> list[bool]:
    """Which hypotheses fall at a false discovery rate (Benjamini and Hochberg, 1995)."""
    order = np.argsort(p_values, kind="stable")
    limits = rate * np.arange(1, len(order) + 1) / len(order)
    below = np.flatnonzero(np.asarray(p_values)[order] <= limits)
    rejected = np.zeros(len(order), dtype=bool)
    if len(below):
        rejected[order[: below[-1] + 1]] = True
    return [bool(value) for value in rejected]


def _side(window: Window, max_users: int, rng: np.random.Generator) -> _Side:
    present = np.unique(window.users)
    if len(present) > max_users:
        present = np.sort(rng.choice(present, max_users, replace=False))
    inside = np.isin(window.users, present)
    users, items, times = window.users[inside], window.items[inside], window.timestamps[inside]
    order = np.argsort(users, kind="stable")  # user after user, each in time order
    users, items, times = users[order], items[order], times[order]
    row = np.searchsorted(present, users)
    count = len(present)

    def total(values: NDArray[np.generic], rows: Int64) -> Float:
        return np.bincount(rows, weights=values, minlength=count).astype(np.float64)

    unknown = ~window.known_items[items]
    same_user = row[1:] == row[:-1]
    gaps = np.log1p(np.diff(times)[same_user].astype(np.float64))
    gap_rows = row[1:][same_user]
    by_item = np.lexsort((items, row))
    repeated = (np.diff(row[by_item]) == 0) & (np.diff(items[by_item]) == 0)
    return _Side(
        users=count,
        length=np.bincount(row, minlength=count).astype(np.float64),
        new=(~window.known_users[present]).astype(np.float64),
        new_items=total(unknown, row),
        by_new_item=np.bincount(items[unknown], minlength=len(window.known_items)).astype(
            np.float64
        ),
        repeats=total(repeated, row[by_item][1:]),
        gap_sum=total(gaps, gap_rows),
        gap_count=np.bincount(gap_rows, minlength=count).astype(np.float64),
        row=row,
        items=items,
        gaps=gaps,
    )


def _ratios(old: _Side, new: _Side, labels: NDArray[np.float32]) -> dict[StatisticName, Difference]:
    """The statistics that are a sum over users divided by another."""
    one_old, one_new = np.ones(old.users), np.ones(new.users)
    parts: dict[StatisticName, tuple[tuple[Float, Float], tuple[Float, Float]]] = {
        "new_user_share": ((old.new, one_old), (new.new, one_new)),
        "new_item_share": ((old.new_items, old.length), (new.new_items, new.length)),
        "sequence_length": ((old.length, one_old), (new.length, one_new)),
        "time_gap": ((old.gap_sum, old.gap_count), (new.gap_sum, new.gap_count)),
        "repeat_share": ((old.repeats, old.length), (new.repeats, new.length)),
    }
    touched: dict[StatisticName, float] = {
        "new_user_share": abs(_newcomers_traffic(new) - _newcomers_traffic(old)),
        "sequence_length": _largest_gap(
            np.repeat(old.length, old.length.astype(int)),
            np.repeat(new.length, new.length.astype(int)),
        ),
        "time_gap": _largest_gap(old.gaps, new.gaps),
    }
    columns = [
        np.concatenate(sides) for pair in parts.values() for sides in zip(*pair, strict=True)
    ]  # top and base of each statistic, users of both windows
    # [permutations, columns] sums over the current side
    drawn: Float = labels.astype(np.float64) @ np.stack(columns, axis=1)
    found: dict[StatisticName, Difference] = {}
    for index, (name, ((old_top, old_base), (new_top, new_base))) in enumerate(parts.items()):
        before, after = (
            _divide(old_top.sum(), old_base.sum()),
            _divide(new_top.sum(), new_base.sum()),
        )
        if before is None or after is None:
            found[name] = Difference(name, FAMILIES[name], before, after, 0.0, 1.0, 0.0)
            continue
        top, base = drawn[:, 2 * index], drawn[:, 2 * index + 1]
        drawn_new = _safe_ratio(top, base)
        drawn_old = _safe_ratio(
            old_top.sum() + new_top.sum() - top, old_base.sum() + new_base.sum() - base
        )
        difference = abs(after - before)
        p = _p_value(np.abs(drawn_new - drawn_old), difference)
        effect = difference
        if name == "sequence_length":
            effect = _relative(before, after)
        elif name == "time_gap":  # the values are means of logarithms
            effect = float(np.expm1(difference))
            before, after = float(np.expm1(before)), float(np.expm1(after))
        found[name] = Difference(
            name, FAMILIES[name], before, after, effect, p, touched.get(name, difference)
        )
    return found


def _new_item_p(old: _Side, new: _Side, permutations: int, rng: np.random.Generator) -> float:
    """P-value of the change of new items' traffic when each item may swap its windows."""
    change = new.by_new_item / new.length.sum() - old.by_new_item / old.length.sum()
    change = change[change != 0]
    if not len(change):
        return 1.0
    block = max(1, _BLOCK_CELLS // len(change))
    drawn = [
        rng.choice(np.array([-1.0, 1.0]), (min(block, permutations - start), len(change))) @ change
        for start in range(0, permutations, block)
    ]
    return _p_value(np.abs(np.concatenate(drawn)), abs(float(change.sum())))


def _popularity(old: _Side, new: _Side, labels: NDArray[np.float32]) -> Difference:
    """Jensen-Shannon divergence of what was touched, and by how much it exceeds chance."""
    items = np.concatenate((old.items, new.items))
    rows = np.concatenate((old.row, new.row + old.users))
    distinct, column = np.unique(items, return_inverse=True)
    counts = sparse.csr_array(
        (np.ones(len(items), dtype=np.float32), (column, rows)),
        shape=(len(distinct), old.users + new.users),
    )
    total = counts.sum(axis=1)[:, None]
    observed = np.zeros((1, old.users + new.users), dtype=np.float32)
    observed[0, old.users :] = 1
    (divergence,), (moved,) = _divergences(counts, total, observed)
    block = max(1, _BLOCK_CELLS // len(distinct))
    drawn = [
        _divergences(counts, total, labels[start : start + block])
        for start in range(0, len(labels), block)
    ]
    by_chance = np.concatenate([divergences for divergences, _ in drawn])
    moved_by_chance = np.concatenate([distances for _, distances in drawn])
    name: StatisticName = "item_popularity"
    return Difference(
        name,
        FAMILIES[name],
        float(by_chance.mean()),
        float(divergence),
        max(0.0, float(divergence - by_chance.mean())),
        _p_value(by_chance, float(divergence)),
        max(0.0, float(moved - moved_by_chance.mean())),
    )


def _divergences(
    counts: sparse.csr_array, total: Float, labels: NDArray[np.float32]
) -> tuple[Float, Float]:
    """Jensen-Shannon divergence in bits and total variation for each row of labels."""
    current = np.asarray(counts @ labels.T, dtype=np.float64)  # [items, permutations]
    p = current / np.maximum(current.sum(axis=0), 1)
    rest = total - current
    q = rest / np.maximum(rest.sum(axis=0), 1)
    divergence = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return divergence, np.abs(p - q).sum(axis=0) / 2


def _entropy(shares: Float) -> Float:
    logarithms = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Float = -(shares * logarithms).sum(axis=0)
    return entropy


def _volume(
    reference: Window, current: Window, permutations: int, rng: np.random.Generator
) -> Difference:
    """Interactions per day; what is permuted here is days, since users say nothing about a rate.

    Shorter windows are cut into eighths of the shorter one, very unequal ones more coarsely.
    """
    name: StatisticName = "interactions_per_day"
    boundary = float(current.timestamps[0])
    spans = boundary - float(reference.timestamps[0]), float(current.timestamps[-1]) - boundary
    if min(spans) <= 0:
        return Difference(name, FAMILIES[name], None, None, 0.0, 1.0, 0.0)
    width = max(min(_DAY, min(spans) / _MIN_BINS), max(spans) / _MAX_BINS)
    before = _bins(boundary - reference.timestamps, spans[0], width)
    after = _bins(current.timestamps - boundary, spans[1], width)
    both = np.concatenate((before, after))
    drawn = rng.permuted(np.broadcast_to(both, (permutations, len(both))), axis=1)
    old_rate, new_rate = before.mean(), after.mean()
    differences = np.abs(
        _log_ratio(drawn[:, len(before) :].mean(axis=1), drawn[:, : len(before)].mean(axis=1))
    )
    ratio = abs(float(_log_ratio(new_rate, old_rate)))
    scale = _DAY / width
    effect = float(np.expm1(ratio))
    return Difference(
        name,
        FAMILIES[name],
        float(old_rate * scale),
        float(new_rate * scale),
        effect,
        _p_value(differences, ratio),
        1 - 1 / (1 + effect),
    )


def _bins(distance: NDArray[np.generic], span: float, width: float) -> Float:
    """Interactions in each whole bin, counted from the boundary between the windows."""
    whole = int(span / width + 1e-9)
    if whole == 0:
        return np.array([len(distance) * width / span])
    index = np.floor(np.asarray(distance, dtype=np.float64) / width).astype(np.int64)
    return np.bincount(index[index < whole], minlength=whole).astype(np.float64)


def _log_ratio(after: Float, before: Float) -> Float:
    # Half an interaction keeps an empty side finite.
    ratio: Float = np.log((after + 0.5) / (before + 0.5))
    return ratio


def _p_value(drawn: Float, observed: float) -> float:
    # The slack keeps ties ties: equal sums in another order differ in their last bits.
    slack = 1e-6 * max(1.0, abs(observed)) if observed else 0.0
    return float((np.count_nonzero(drawn >= observed - slack) + 1) / (len(drawn) + 1))


def _relative(before: float, after: float) -> float:
    return max(before, after) / min(before, after) - 1


def _divide(top: float, base: float) -> float | None:
    return float(top / base) if base > 0 else None


def _safe_ratio(top: Float, base: Float) -> Float:
    return np.divide(top, base, out=np.zeros_like(top), where=base > 0)


def _newcomers_traffic(side: _Side) -> float:
    return float((side.new * side.length).sum() / side.length.sum())


def _largest_gap(old: Float, new: Float) -> float:
    """Kolmogorov-Smirnov distance: the largest difference of the two distribution functions."""
    if not len(old) or not len(new):
        return 0.0
    points = np.union1d(old, new)
    below_old = np.searchsorted(np.sort(old), points, side="right") / len(old)
    below_new = np.searchsorted(np.sort(new), points, side="right") / len(new)
    return float(np.abs(below_new - below_old).max())
