"""The canonical log as a file: Parquet, ids as dictionaries, read and written a row group a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from slmrec.columns import Interactions
from slmrec.data.ahead import mapped_ahead
from slmrec.data.histories import MICROSECONDS
from slmrec.data.spool import Rows

# More than the library's 1 MB, above which it would write an id for every row.
_DICTIONARY_BYTES = 256 * 1024 * 1024
_SCHEMA = pa.schema(
    [
        (Interactions.USER, pa.dictionary(pa.int32(), pa.large_string())),
        (Interactions.ITEM, pa.dictionary(pa.int32(), pa.large_string())),
        (Interactions.TIME, pa.int64()),
        (Interactions.RATING, pa.float32()),
        (Interactions.ROW, pa.int64()),
    ]
)


class LogWriter:
    """Writes partitions of the log, each as one row group. Use as a context manager."""

    def __init__(self, path: Path, users: pl.Series, items: pl.Series) -> None:
        self._users = users.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._items = items.to_arrow(compat_level=pl.CompatLevel.oldest())
        ids = [Interactions.USER, Interactions.ITEM]
        self._writer = pq.ParquetWriter(
            path,
            _SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=[*ids, Interactions.RATING],
            column_encoding={
                Interactions.TIME: "DELTA_BINARY_PACKED",
                Interactions.ROW: "DELTA_BINARY_PACKED",
            },
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            store_schema=False,  # readers see plain text, however it is stored
            write_statistics=[Interactions.TIME, Interactions.RATING],
        )

    def table(self, rows: Rows) -> pa.Table:
        """Give rows of whole users in history order, users and items as ranks, as what is written."""
        rating = rows["rating"]
        return pa.Table.from_arrays(
            [
                _dictionary(rows["user"], self._users),
                _dictionary(rows["item"], self._items),
                pa.array(rows["moment"] // MICROSECONDS),
                pa.array(rating, mask=np.isnan(rating)),
                pa.array(np.ascontiguousarray(rows["row"])),
            ],
            schema=_SCHEMA,
        )

    def write(self, table: pa.Table) -> None:
        """Write a `table` as one row group."""
        self._writer.write_table(table, row_group_size=max(len(table), 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()


def _dictionary(codes: NDArray[np.int32], texts: pa.Array) -> pa.Array:
    # Only the ids of these rows, in order: a group's dictionary is no larger than the group.
    low = int(codes.min()) if len(codes) else 0
    local = codes - low
    present = np.bincount(local) > 0
    number = (np.cumsum(present) - 1).astype(np.int32)
    return pa.DictionaryArray.from_arrays(
        number[local], texts.take(pa.array(np.flatnonzero(present) + low))
    )


@dataclass(frozen=True)
class LogGroup:
    """A row group: ids once each, rows as positions in them."""

    users: pl.Series
    user: NDArray[np.int32]  # [rows], into `users`
    items: pl.Series
    item: NDArray[np.int32]  # [rows], into `items`
    seconds: NDArray[np.int64]  # [rows]


def read_log(path: Path) -> Iterator[LogGroup]:
    """Read the log of an `interactions` artifact, a row group after another."""
    ids = [Interactions.USER, Interactions.ITEM]
    metadata = pq.read_metadata(path)

    def read(number: int) -> LogGroup:
        # A file of its own: the library does not promise that one may be read by two threads.
        with pq.ParquetFile(path, read_dictionary=ids, metadata=metadata) as file:
            table = file.read_row_group(number, columns=[*ids, Interactions.TIME])
        user, item = (_codes(table.column(name)) for name in ids)
        return LogGroup(*user, *item, table.column(Interactions.TIME).to_numpy())

    return mapped_ahead(read, range(metadata.num_row_groups))


def rows_of(path: Path) -> int:
    """Count the rows of a Parquet file from its footer."""
    return int(pq.read_metadata(path).num_rows)


def _codes(column: Any) -> tuple[pl.Series, NDArray[np.int32]]:
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.unify_dictionaries().chunks)
    texts = pl.Series(values=pl.from_arrow(array.dictionary), dtype=pl.String)
    return texts, array.indices.to_numpy().astype(np.int32, copy=False)
