"""Sequences checked against what they promise, before anybody trains on them."""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.columns import ItemIndex, UserIndex
from slmrec.config import BuildSequences
from slmrec.data.checks import Check, rule
from slmrec.data.ordering import chunks_of_groups
from slmrec.data.sequences import SPLITS, Sequences

SUITE = "sequences"
EXAMPLES = 5
Bool = NDArray[np.bool_]


def audit(
    sequences: Sequences,
    settings: BuildSequences,
    item_table: pl.DataFrame,
    user_table: pl.DataFrame,
) -> tuple[Check, ...]:
    """Check order, splits, k-core and id maps of sequences; nothing is taken from how they arose."""
    pieces = _offsets(sequences)
    if not pieces.success:
        return (pieces,)  # nothing else can be read off such positions
    return (
        pieces,
        _time_order(sequences),
        *_splits(sequences, settings),
        *_core(sequences, settings),
        _bijection("item", item_table, ItemIndex.INDEX, [ItemIndex.ITEM], 1),
        _bijection("user", user_table, UserIndex.INDEX, _user_key(user_table), 0),
    )


def _user_key(user_table: pl.DataFrame) -> list[str]:
    session = UserIndex.SESSION in user_table.columns
    return [UserIndex.USER, UserIndex.SESSION] if session else [UserIndex.USER]


def _offsets(sequences: Sequences) -> Check:
    bounds = np.stack(
        [
            *(sequences.offsets[:-1], sequences.train_end),
            *(sequences.validation_end, sequences.offsets[1:]),
        ]
    )
    wrong = (np.diff(bounds, axis=0) < 0).any(axis=0) | (np.diff(sequences.offsets) < 1)
    ends_meet = sequences.offsets[0] == 0 and sequences.offsets[-1] == sequences.interactions
    return rule(
        SUITE,
        "each history is one piece: training, then validation, then test",
        rows=sequences.users,
        unexpected=int(wrong.sum()) + (not ends_meet),
        examples=_named("user", np.flatnonzero(wrong)),
    )


def _time_order(sequences: Sequences) -> Check:
    def backwards(first: int, after: int) -> NDArray[np.int64]:
        start, end = sequences.offsets[first], sequences.offsets[after]
        back = np.diff(sequences.timestamps[start:end]) < 0
        back[sequences.offsets[first + 1 : after] - start - 1] = False  # another user begins
        return np.flatnonzero(back) + start + 1

    wrong = _gathered(sequences, backwards)
    return rule(
        SUITE,
        "time never runs backwards inside a history",
        rows=sequences.interactions,
        unexpected=len(wrong),
        examples=_named("position", wrong),
    )


def _splits(sequences: Sequences, settings: BuildSequences) -> tuple[Check, ...]:
    if settings.split == "leave_one_out":
        lengths = np.diff(sequences.offsets)
        held_out = sequences.offsets[1:] - sequences.train_end
        tested = sequences.offsets[1:] - sequences.validation_end
        long = lengths >= 3
        wrong = np.where(long, (held_out != 2) | (tested != 1), (held_out != 0) | (tested != 0))
        return (
            rule(
                SUITE,
                "the last two of a history of three or more are held out",
                rows=sequences.users,
                unexpected=int(wrong.sum()),
                examples=_named("user", np.flatnonzero(wrong)),
            ),
        )
    spans = _spans(sequences)
    return tuple(
        rule(
            SUITE,
            f"everything in {one} is earlier than anything in {other}",
            rows=sequences.interactions,
            unexpected=int(spans[one][1] >= spans[other][0]),
            examples=(f"{one} ends at {spans[one][1]}, {other} begins at {spans[other][0]}",),
        )
        for one, other in (("train", "validation"), ("validation", "test"))
    )


def _spans(sequences: Sequences) -> dict[str, tuple[int, int]]:
    widest = np.iinfo(np.int64)
    spans = dict.fromkeys(SPLITS, (widest.max, widest.min))
    for start, after in chunks_of_groups(sequences.offsets):
        times = sequences.timestamps[sequences.offsets[start] : sequences.offsets[after]]
        codes = sequences.split_codes(start, after)
        for code, (split, (first, last)) in enumerate(spans.items()):
            inside = times[codes == code]
            if len(inside):
                spans[split] = min(first, int(inside.min())), max(last, int(inside.max()))
    return spans


def _core(sequences: Sequences, settings: BuildSequences) -> tuple[Check, ...]:
    poor_users = np.flatnonzero(np.diff(sequences.offsets) < settings.min_user_interactions)
    counts = np.zeros(sequences.item_count + 1, np.int64)
    outside = 0
    for start, after in chunks_of_groups(sequences.offsets):
        items = sequences.items[sequences.offsets[start] : sequences.offsets[after]]
        inside = (items >= 1) & (items <= sequences.item_count)
        outside += int((~inside).sum())
        counts += np.bincount(items[inside], minlength=len(counts))
    least = max(settings.min_item_interactions, 1)
    poor_items = np.flatnonzero(counts[1:] < least) + 1
    return (
        rule(
            SUITE,
            f"the k-core holds: every history has {settings.min_user_interactions} or more",
            rows=sequences.users,
            unexpected=len(poor_users),
            examples=_named("user", poor_users),
        ),
        rule(
            SUITE,
            f"the k-core holds: every item has {settings.min_item_interactions} or more",
            rows=sequences.item_count,
            unexpected=len(poor_items),
            examples=_named("item", poor_items),
        ),
        rule(
            SUITE,
            "every item index is in the item table",
            rows=sequences.interactions,
            unexpected=outside,
        ),
    )


def _bijection(what: str, table: pl.DataFrame, index: str, key: list[str], first: int) -> Check:
    expected = np.arange(first, first + len(table))
    misnumbered = int((table[index].to_numpy() != expected).sum())
    repeated = len(table) - table.select(key).n_unique()
    missing = sum(table[name].null_count() for name in key)
    return rule(
        SUITE,
        f"{what} ids and indices are one to one",
        rows=len(table),
        unexpected=misnumbered + repeated + missing,
    )


def _gathered(
    sequences: Sequences, find: Callable[[int, int], NDArray[np.int64]]
) -> NDArray[np.int64]:
    found = [find(start, after) for start, after in chunks_of_groups(sequences.offsets)]
    return np.concatenate([np.zeros(0, np.int64), *found])


def _named(what: str, numbers: NDArray[np.integer]) -> tuple[str, ...]:
    return tuple(f"{what} {number}" for number in numbers[:EXAMPLES].tolist())
