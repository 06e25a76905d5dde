"""How two windows of the log differ: volume, who and what is new, what is touched, how people go on."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import Int64
from slmrec.drift.difference import (
    BLOCK_CELLS,
    Difference,
    Float,
    Lot,
    Ratio,
    difference,
    largest_gap,
    not_comparable,
    p_value,
    relative,
)
from slmrec.drift.thresholds import StatisticName
from slmrec.drift.windows import Window

_MAX_BINS = 2000
_MIN_BINS = 8
_DAY = 86_400.0


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


def compare_logs(
    reference: Window,
    current: Window,
    *,
    permutations: int,
    max_users: int,
    rng: np.random.Generator,
    categories: Int64 | None = None,
    max_length: int | None = None,
    adds_up: bool = False,
) -> list[Difference]:
    """What the interactions of `current` and of `reference` differ in.

    At most `max_users` users of each side are used, drawn by lot. `categories` int64 [items + 1] is
    each item's category by number, `max_length` how many items of a history production reads; without
    them their statistics are left out. `adds_up`: new items of `current` are those that `reference` did
    not have, rather than of the window before.
    """
    old, new = _side(reference, max_users, rng), _side(current, max_users, rng)
    lot = Lot(old.users, new.users, permutations, rng)
    rows, items = _both(old, new)
    found = [
        _volume(reference, current, permutations, rng),
        *_ratios(old, new, lot, max_length),
        _spread(lot, "item_popularity", rows, items),
    ]
    if categories is not None:
        found.append(_spread(lot, "category_mix", rows, categories[items]))
    found = _without_new_items(found)
    if adds_up:  # however few items it is: production cannot list what so many people turn to
        return found
    # Which items happened to be new is chance too, shared by all users: the p-value over users alone
    # alarmed on one log without drift in twelve. So the new items have to agree among themselves.
    by_item = _new_item_p(old, new, permutations, rng)
    return [
        replace(one, p=max(one.p, by_item)) if one.name == "new_item_share" else one
        for one in found
    ]


def _without_new_items(found: list[Difference]) -> list[Difference]:
    """What moved between items because some are new is told as new items, not a second time."""
    share = next(one for one in found if one.name == "new_item_share")
    more = max(0.0, (share.current or 0.0) - (share.reference or 0.0))
    return [
        replace(one, touched_share=max(0.0, one.touched_share - more))
        if one.name == "item_popularity"
        else one
        for one in found
    ]


def _both(old: _Side, new: _Side) -> tuple[Int64, Int64]:
    """Rows and items of all interactions, those of the reference first."""
    return np.concatenate((old.row, new.row + old.users)), np.concatenate((old.items, new.items))


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


def _ratios(old: _Side, new: _Side, lot: Lot, max_length: int | None) -> list[Difference]:
    """The statistics that are a sum over users divided by another."""

    def both(name: str) -> Float:
        return np.concatenate((getattr(old, name), getattr(new, name)))

    people, length = np.ones(old.users + new.users), both("length")
    parts: dict[StatisticName, tuple[Float, Float]] = {
        "new_user_share": (both("new"), people),
        "new_item_share": (both("new_items"), length),
        "sequence_length": (np.log(length), people),
        "time_gap": (both("gap_sum"), both("gap_count")),
        "repeat_share": (both("repeats"), length),
    }
    if max_length is not None:
        parts["truncated_share"] = ((length > max_length).astype(np.float64), people)
    return [
        not_comparable(name) if ratio is None else _measured(name, ratio, old, new)
        for name, ratio in lot.ratios(parts).items()
    ]


def _measured(name: StatisticName, ratio: Ratio, old: _Side, new: _Side) -> Difference:
    before, after, change = ratio.before, ratio.after, ratio.change
    if name == "sequence_length":
        touched = largest_gap(
            np.repeat(old.length, old.length.astype(int)),
            np.repeat(new.length, new.length.astype(int)),
        )
        # A mean of logarithms: a few people who do a hundred times as much drown an arithmetic mean.
        lengths = float(np.exp(before)), float(np.exp(after))
        return difference(name, *lengths, relative(*lengths), ratio.p, touched)
    if name == "time_gap":  # the values are means of logarithms
        touched = largest_gap(old.gaps, new.gaps)
        effect = float(np.expm1(change))
        seconds = float(np.expm1(before)), float(np.expm1(after))
        return difference(name, *seconds, effect, ratio.p, touched)
    touched = change
    if name == "new_user_share":
        touched = abs(_newcomers_traffic(new) - _newcomers_traffic(old))
    return difference(name, before, after, change, ratio.p, touched)


def _spread(lot: Lot, name: StatisticName, rows: Int64, items: Int64) -> Difference:
    """By how much what was touched differs more than chance has it."""
    found = lot.counted(rows, items)
    p = p_value(found.divergences, found.divergence)
    return difference(name, found.by_chance, found.divergence, found.excess, p, found.moved)


def _new_item_p(old: _Side, new: _Side, permutations: int, rng: np.random.Generator) -> float:
    """P-value of the change of new items' traffic when each item may swap its windows."""
    change = new.by_new_item / new.length.sum() - old.by_new_item / old.length.sum()
    change = change[change != 0]
    if not len(change):
        return 1.0
    block = max(1, BLOCK_CELLS // len(change))
    drawn = [
        rng.choice(np.array([-1.0, 1.0]), (min(block, permutations - start), len(change))) @ change
        for start in range(0, permutations, block)
    ]
    return p_value(np.abs(np.concatenate(drawn)), abs(float(change.sum())))


def _volume(
    reference: Window, current: Window, permutations: int, rng: np.random.Generator
) -> Difference:
    """Interactions per day; what is permuted here is days, since users say nothing about a rate.

    From two weeks on, days are compared with and permuted among days of their own weekday. Shorter
    windows are cut into eighths of the shorter one, very unequal ones more coarsely.
    """
    name: StatisticName = "interactions_per_day"
    boundary = float(current.timestamps[0])
    adjacent = reference.end == current.start
    edge = boundary if adjacent else float(reference.timestamps[-1])
    spans = edge - float(reference.timestamps[0]), float(current.timestamps[-1]) - boundary
    if min(spans) <= 0:
        return not_comparable(name)
    width = max(min(_DAY, min(spans) / _MIN_BINS), max(spans) / _MAX_BINS)
    before = _bins(edge - reference.timestamps, spans[0], width)
    after = _bins(current.timestamps - boundary, spans[1], width)
    kinds = _kinds_of_days(edge, boundary, len(before), len(after), width)
    both = np.concatenate((before, after))
    drawn = np.empty((permutations, len(both)))
    for kind in np.unique(kinds):
        (members,) = np.nonzero(kinds == kind)
        wide = np.broadcast_to(both[members], (permutations, len(members)))
        drawn[:, members] = rng.permuted(wide, axis=1)
    is_after = np.arange(len(both)) >= len(before)
    old_rate, new_rate = _rates(both[None], kinds, is_after)
    differences = np.abs(_log_ratio(*_rates(drawn, kinds, is_after)[::-1]))
    ratio = abs(float(_log_ratio(new_rate, old_rate)[0]))
    scale = _DAY / width
    effect = float(np.expm1(ratio))
    return difference(
        name,
        float(old_rate[0] * scale),
        float(new_rate[0] * scale),
        effect,
        p_value(differences, ratio),
        1 - 1 / (1 + effect),
    )


def _kinds_of_days(edge: float, boundary: float, before: int, after: int, width: float) -> Int64:
    """Which bins are alike: weekdays where both sides have every one of them twice, else all."""
    if width != _DAY or min(before, after) < 2 * 7:
        return np.zeros(before + after, dtype=np.int64)
    middles = (edge - (np.arange(before) + 0.5) * _DAY, boundary + (np.arange(after) + 0.5) * _DAY)
    return (np.concatenate(middles) // _DAY % 7).astype(np.int64)


def _rates(bins: Float, kinds: Int64, is_after: NDArray[np.bool_]) -> tuple[Float, Float]:
    """Mean over kinds of a kind's mean bin, before and after: float64 [rows] each."""
    means: list[Float] = []
    for side in (~is_after, is_after):
        of_kind = [bins[:, side & (kinds == kind)].mean(axis=1) for kind in np.unique(kinds)]
        means.append(np.mean(of_kind, axis=0))
    return means[0], means[1]


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


def _newcomers_traffic(side: _Side) -> float:
    return float((side.new * side.length).sum() / side.length.sum())
