"""How much of the lists that people were given would be listed to them today."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from slmrec.columns import ItemIndex, Recommendations, UserIndex
from slmrec.data.sequences import Int64, Sequences
from slmrec.drift.serving import People
from slmrec.drift.serving_statistics import rank_biased_overlap
from slmrec.errors import DataError, first_line
from slmrec.evaluation.ranking import LIST_LENGTH
from slmrec.models.scorer import History, Lists

_DIGITS = 6


@dataclass(frozen=True)
class HandedOut:
    """Lists that `recommend` has written, in the numbers of the log that is watched.

    - `users` int64 [people]: indices in the log; `lists` int64 [people, 10], 0 for what it has not
    """

    users: Int64
    lists: Int64
    versions: tuple[str, ...]
    """Of the models that made them."""


def _require_types(path: Path, table: pl.DataFrame) -> None:
    expected = {
        Recommendations.USER: pl.String(),
        Recommendations.ITEMS: pl.List(pl.String()),
        Recommendations.VERSION: pl.String(),
    }
    for name, wanted in expected.items():
        if (found := table.schema[name]) != wanted:
            raise DataError(
                f"{path}: its column {name} is {found}, expected {wanted}, as 'python -m pipeline "
                "recommend' writes it"
            )


def read_handed_out(path: Path, sequences: Sequences) -> HandedOut:
    """Read a Parquet file with the columns `Recommendations`; of lists longer than ten the first ten.

    People and items that the log does not have are passed over. Raises `DataError` when it is not such
    a file.
    """
    wanted = [Recommendations.USER, Recommendations.ITEMS, Recommendations.VERSION]
    try:
        table = pl.read_parquet(path, columns=wanted)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path}: cannot be read as lists ({first_line(error)}); expected a file that 'python -m "
            "pipeline recommend' wrote, with the columns " + ", ".join(wanted)
        ) from None
    _require_types(path, table)
    ids = sequences.user_table.select(
        pl.col(UserIndex.USER).cast(str).alias(Recommendations.USER)
    ).with_row_index("row")
    # Of a log that was cut into sessions a user has several rows; the newest is the last.
    people = table.join(ids.unique(Recommendations.USER, keep="last"), on=Recommendations.USER)
    people = people.sort("row")
    numbers = sequences.item_table.select(
        pl.col(ItemIndex.ITEM).cast(str).alias("item"),
        pl.col(ItemIndex.INDEX).cast(pl.Int64).alias("number"),
    )
    placed = (
        people.select("row", pl.col(Recommendations.ITEMS).list.head(LIST_LENGTH))
        .with_row_index("person")
        .with_columns(place=pl.int_ranges(pl.col(Recommendations.ITEMS).list.len()))
        .explode(Recommendations.ITEMS, "place")
        .join(numbers, left_on=Recommendations.ITEMS, right_on="item")
    )
    lists = np.zeros((len(people), LIST_LENGTH), dtype=np.int64)
    lists[placed["person"].to_numpy(), placed["place"].to_numpy()] = placed["number"].to_numpy()
    versions = tuple(sorted(people[Recommendations.VERSION].unique().to_list()))
    return HandedOut(people["row"].to_numpy().astype(np.int64), lists, versions)


def compare_handed_out(
    given: HandedOut, now: People, model: Lists, histories: Callable[[int], History]
) -> dict[str, Any]:
    """Share of the given lists that production would list to the same people now; first items most.

    Of people of the newest window who were given a list. As `recommend` does, `model` reads all that is
    known of a person, `histories` by index.
    """
    _, then, _ = np.intersect1d(given.users, now.users, return_indices=True)
    if not len(then):
        return {"people": 0, "versions": list(given.versions)}
    was = given.lists[then]
    whole = [histories(user) for user in given.users[then].tolist()]
    listed, _ = model.best(whole, LIST_LENGTH, exclude_seen=True)
    shared = ((was[:, :, None] == listed[:, None, :]) & (was > 0)[:, :, None]).any(axis=2)
    sizes = np.maximum((was > 0).sum(axis=1), 1)
    return {
        "people": len(then),
        "versions": list(given.versions),
        "overlap": round(float((shared.sum(axis=1) / sizes).mean()), _DIGITS),
        "rank_overlap": round(float(rank_biased_overlap(was, listed).mean()), _DIGITS),
    }
