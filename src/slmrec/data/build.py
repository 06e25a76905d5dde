"""From the validated log to sequences: deduplicate, sessions, k-core, id maps, splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.columns import ItemIndex, Items, UserIndex
from slmrec.config import BuildSequences
from slmrec.data.ahead import mapped_ahead
from slmrec.data.identifiers import Codes, Identifiers
from slmrec.data.k_core import k_core
from slmrec.data.log_file import LogGroup, read_log, rows_of
from slmrec.data.ordering import chunks, chunks_of_groups, stable_order, starts_of_runs
from slmrec.data.sequences import Sequences
from slmrec.data.splits import split_positions
from slmrec.errors import DataError
from slmrec.progress import Progress

Bool = NDArray[np.bool_]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Number = TypeVar("Number", np.int32, np.int64)


@dataclass(frozen=True)
class Built:
    """What `build` gives: the sequences, both id maps, and a card with their figures."""

    sequences: Sequences
    item_table: pl.DataFrame
    user_table: pl.DataFrame
    card: dict[str, Any]


@dataclass(frozen=True)
class Histories:
    """A log in memory: whole histories one after another, ids in the order of their bytes.

    A history is a user's, or one session of a user.
    """

    users: pl.Series  # text [histories], the user of each
    offsets: Int64  # [histories + 1]
    items: pl.Series  # text [catalogue]
    item: Int32  # [interactions], into `items`
    seconds: Int64  # [interactions]

    def owner(self) -> Int32:
        """Give the history of each interaction: int32 [interactions]."""
        numbers = np.arange(len(self.users), dtype=np.int32)
        return np.repeat(numbers, np.diff(self.offsets))


def build(log: Path, items: pl.DataFrame, settings: BuildSequences, progress: Progress) -> Built:
    """Turn a canonical log (Parquet) and an item table (columns `Items`) into sequences.

    Users and items are numbered by the order of their ids (bytes of UTF-8), users from 0 and items
    from 1. Inside a history the order is the log's, which is that of time.

    Raises `DataError` when the k-core is empty or the times leave no room for the split.
    """
    histories = load(log, progress)
    before = {
        "interactions_before": len(histories.item),
        "users_before": len(histories.users),
        "items_before": len(histories.items),
    }
    if settings.session_minutes is not None:
        histories = sessions(histories, settings.session_minutes * 60)
        before["sessions_before"] = len(histories.users)
    progress.update(2, 5, "deduplicate")
    inside = distinct(histories, settings.deduplicate)
    before["interactions_distinct"] = int(inside.sum())
    if settings.max_history is not None:
        keep_last(histories.offsets, inside, settings.max_history)
        before["interactions_recent"] = int(inside.sum())
    progress.update(3, 5, "k-core")
    owner = histories.owner()
    least = (settings.min_user_interactions, settings.min_item_interactions)
    k_core(owner, histories.item, *least, inside)
    del owner
    if not inside.any():
        raise DataError(
            f"build_sequences: nothing is left of {before['interactions_distinct']:,} interactions "
            f"({before['users_before']:,} users, {before['items_before']:,} items) after requiring "
            f"{least[0]} interactions a user and {least[1]} an item; lower "
            "build_sequences.min_user_interactions or build_sequences.min_item_interactions"
        )
    progress.update(4, 5, "split")
    sequences, kept_items, kept_histories, cuts = _compacted(histories, inside, settings)
    del inside
    item_table = _item_table(sequences, histories.items.gather(kept_items), items)
    user_table = _user_table(sequences, histories.users.gather(kept_histories), settings)
    card = {**cuts, **_figures(sequences, item_table, user_table), **before}
    progress.update(5, 5, f"{sequences.interactions:,} interactions")
    return Built(sequences, item_table, user_table, card)


def load(log: Path, progress: Progress) -> Histories:
    """Read a canonical log: 12 bytes an interaction, and every id once."""
    rows = rows_of(log)
    code = np.empty(rows, np.int32)
    seconds = np.empty(rows, np.int64)
    catalogue = Identifiers()
    users: list[pl.Series] = []
    counts: list[Int64] = []
    done = 0

    def encode(group: LogGroup) -> tuple[LogGroup, Codes]:
        return group, catalogue.encode(group.items)

    for group, codes in mapped_ahead(encode, read_log(log)):
        after = done + len(group.user)
        catalogue.count(codes)
        code[done:after] = codes[group.item]
        seconds[done:after] = group.seconds
        starts = np.flatnonzero(starts_of_runs(group.user))
        users.append(group.users.gather(group.user[starts]))
        counts.append(np.diff(starts, append=len(group.user)))
        done = after
        progress.update(2 * done / max(rows, 1), 5, "read")
    names = pl.concat(users) if users else pl.Series([], dtype=pl.String)
    number = np.concatenate(counts) if counts else np.zeros(0, np.int64)
    first = names.ne_missing(names.shift(1)).to_numpy()  # a user may go on in the next group
    places = np.flatnonzero(first)
    offsets = np.concatenate([[0], np.cumsum(np.add.reduceat(number, places))]).astype(np.int64)
    items, rank, _ = catalogue.ranked()
    for chunk in chunks(rows):
        code[chunk] = rank[code[chunk]]
    return Histories(names.gather(places), offsets, items, code, seconds)


def sessions(histories: Histories, pause: float) -> Histories:
    """Begin a new history wherever more than `pause` seconds pass between two interactions."""
    first = np.zeros(len(histories.item), np.bool_)
    first[1:] = np.diff(histories.seconds) > pause
    first[histories.offsets[:-1]] = True
    starts = np.flatnonzero(first)
    user = np.searchsorted(histories.offsets, starts, side="right") - 1
    return Histories(
        users=histories.users.gather(user),
        offsets=np.append(starts, len(first)),
        items=histories.items,
        item=histories.item,
        seconds=histories.seconds,
    )


def distinct(histories: Histories, policy: str) -> Bool:
    """Tell what `BuildSequences.deduplicate` keeps, a history at a time: bool [interactions]."""
    inside = np.ones(len(histories.item), np.bool_)
    if policy == "none":
        return inside

    def first_of_each(bounds: tuple[int, int]) -> None:
        first, after = bounds
        start, end = histories.offsets[first], histories.offsets[after]
        lengths = np.diff(histories.offsets[first : after + 1])
        owner = np.repeat(np.arange(after - first), lengths)
        item = histories.item[start:end]
        order = stable_order([owner, item])
        told_apart: list[NDArray[Any]] = [owner[order], item[order]]
        if policy == "exact":
            told_apart.append(histories.seconds[start:end][order])
        inside[start + order] = starts_of_runs(*told_apart)

    # Pieces of whole histories do not overlap, so threads may write to one array.
    for _ in mapped_ahead(first_of_each, chunks_of_groups(histories.offsets, 1_000_000)):
        pass
    return inside


def keep_last(offsets: Int64, inside: Bool, most: int) -> None:
    """Leave only the last `most` interactions of each history inside; changes `inside`."""
    for first, after in chunks_of_groups(offsets):
        start, end = offsets[first], offsets[after]
        counted = np.cumsum(inside[start:end])
        ends = offsets[first + 1 : after + 1] - start
        left = np.repeat(counted[ends - 1], np.diff(offsets[first : after + 1])) - counted
        inside[start:end] &= left < most


def selected(values: NDArray[Number], inside: Bool) -> NDArray[Number]:
    """Give `values[inside]`, made by several threads; both [interactions]."""
    pieces = list(chunks(len(values)))
    ends = np.cumsum([np.count_nonzero(inside[piece]) for piece in pieces], dtype=np.int64)
    made = np.empty(int(ends[-1]) if len(ends) else 0, values.dtype)

    def fill(number: int) -> None:
        start = int(ends[number - 1]) if number else 0
        made[start : ends[number]] = values[pieces[number]][inside[pieces[number]]]

    for _ in mapped_ahead(fill, range(len(pieces))):
        pass
    return made


def write_sequences(directory: Path, built: Built) -> dict[str, Any]:
    """Write the files of a sequences artifact and return the properties its manifest needs."""
    sequences = built.sequences
    for name in ("offsets", "items", "timestamps", "train_end", "validation_end"):
        np.save(directory / f"{name}.npy", getattr(sequences, name), allow_pickle=False)
    built.item_table.write_parquet(directory / "items.parquet")
    built.user_table.write_parquet(directory / "users.parquet")
    return {
        "users": sequences.users,
        "items": sequences.item_count,
        "interactions": sequences.interactions,
        "split": built.card["split"],
    }


def _compacted(
    histories: Histories, inside: Bool, settings: BuildSequences
) -> tuple[Sequences, Int64, Int64, dict[str, Any]]:
    lengths = np.add.reduceat(inside, histories.offsets[:-1], dtype=np.int64)
    kept_histories = np.flatnonzero(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths[kept_histories])]).astype(np.int64)
    item = selected(histories.item, inside)
    present = np.zeros(len(histories.items), np.bool_)
    present[item] = True
    index = np.cumsum(present).astype(np.int32)  # 1 for the first, so that 0 stays padding
    for chunk in chunks(len(item)):
        item[chunk] = index[item[chunk]]
    timestamps = selected(histories.seconds, inside)
    train_end, validation_end, cuts = split_positions(offsets, timestamps, settings)
    sequences = Sequences(
        offsets=offsets,
        items=item,
        timestamps=timestamps,
        train_end=train_end,
        validation_end=validation_end,
        item_count=int(present.sum()),
    )
    return sequences, np.flatnonzero(present), kept_histories, cuts


def _user_table(sequences: Sequences, users: pl.Series, settings: BuildSequences) -> pl.DataFrame:
    table = pl.DataFrame(
        {
            UserIndex.INDEX: np.arange(sequences.users, dtype=np.int32),
            UserIndex.USER: users,
            UserIndex.COLD: sequences.train_end == sequences.offsets[:-1],
        }
    )
    if settings.session_minutes is None:
        return table
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(UserIndex.USER)
    return table.with_columns(number.alias(UserIndex.SESSION))


def _item_table(sequences: Sequences, ids: pl.Series, items: pl.DataFrame) -> pl.DataFrame:
    first_seen = np.full(sequences.item_count + 1, np.iinfo(np.int64).max)
    count = np.zeros(sequences.item_count + 1, np.int64)
    trained = np.zeros(sequences.item_count + 1, np.bool_)
    for first, after in chunks_of_groups(sequences.offsets):
        whole = slice(sequences.offsets[first], sequences.offsets[after])
        item = sequences.items[whole]
        np.minimum.at(first_seen, item, sequences.timestamps[whole])
        count += np.bincount(item, minlength=len(count))
        trained[item[sequences.split_mask("train", first, after)]] = True
    described = items.select(
        pl.col(Items.ITEM).alias(ItemIndex.ITEM),
        pl.col(Items.TITLE).alias(ItemIndex.TITLE),
        pl.col(Items.CATEGORY).alias(ItemIndex.CATEGORY),
    )
    return (
        pl.DataFrame(
            {
                ItemIndex.INDEX: np.arange(1, sequences.item_count + 1, dtype=np.int32),
                ItemIndex.ITEM: ids,
            }
        )
        .join(described, on=ItemIndex.ITEM, how="left", maintain_order="left")
        .with_columns(
            pl.col(ItemIndex.TITLE).fill_null(""),
            pl.col(ItemIndex.CATEGORY).fill_null(""),
            pl.Series(ItemIndex.COUNT, count[1:]),
            pl.Series(ItemIndex.FIRST_SEEN, first_seen[1:]),
            pl.Series(ItemIndex.COLD, ~trained[1:]),
        )
    )


def _figures(
    sequences: Sequences, item_table: pl.DataFrame, user_table: pl.DataFrame
) -> dict[str, Any]:
    lengths = np.diff(sequences.offsets)
    _, targets = sequences.targets("test")
    cold = np.concatenate([[False], item_table[ItemIndex.COLD].to_numpy()])
    return {
        "users": sequences.users,
        "items": sequences.item_count,
        "interactions": sequences.interactions,
        "first": int(sequences.timestamps.min()),
        "last": int(sequences.timestamps.max()),
        "density": round(sequences.interactions / sequences.users / sequences.item_count, 8),
        "split_interactions": {
            "train": int((sequences.train_end - sequences.offsets[:-1]).sum()),
            "validation": int((sequences.validation_end - sequences.train_end).sum()),
            "test": int((sequences.offsets[1:] - sequences.validation_end).sum()),
        },
        "history_length": {
            "mean": round(float(lengths.mean()), 3),
            **{
                name: int(np.quantile(lengths, share, method="lower"))
                for name, share in (("min", 0), ("median", 0.5), ("p90", 0.9), ("max", 1))
            },
        },
        "cold_users": int(user_table[UserIndex.COLD].sum()),
        "cold_items": int(item_table[ItemIndex.COLD].sum()),
        "validation_targets": len(sequences.targets("validation")[0]),
        "test_targets": len(targets),
        "cold_test_target_share": round(float(cold[sequences.items[targets]].mean()), 6)
        if len(targets)
        else 0.0,
    }
