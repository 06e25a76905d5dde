"""Parquet files: the needed columns only, as they are typed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from slmrec.columns import Batch, Interactions
from slmrec.data.parquet_pages import check_pages
from slmrec.data.plain import FREE_BYTES, too_much
from slmrec.data.times import TimeCounts, count_times
from slmrec.errors import DataError

BATCH_ROWS = 1_000_000
_ROW_BYTES = 24
"""What a row takes in memory at least, however well its pages are packed."""


@dataclass(frozen=True)
class ParquetPart:
    """A Parquet file of interactions."""

    name: str
    path: Path
    columns: dict[str, str]
    """Canonical names and the file's own."""
    schema: dict[str, pl.DataType]
    rows: int

    @classmethod
    def open(
        cls, name: str, path: Path, choose: Callable[[Sequence[str]], dict[str, str]], growth: int
    ) -> "ParquetPart":
        """Read the footer; `choose` picks columns. Raises `DataError` as `checked_rows` does."""
        rows = checked_rows(path, growth)
        schema = dict(pl.read_parquet_schema(path))
        columns = choose(list(schema))
        for canonical, column in columns.items():
            dtype = schema[column]
            fits = not dtype.is_nested() and dtype != pl.Binary
            if canonical in (Interactions.USER, Interactions.ITEM):
                fits = fits and not dtype.is_float() and not dtype.is_temporal()
            if not fits:
                raise DataError(
                    f"{path}: column '{column}' has type {dtype}, expected text or whole numbers "
                    f"for {canonical}; write it so, or name another column in "
                    "ingest_interactions.columns"
                )
        check_pages(path, columns.values(), growth)
        return cls(name, path, columns, schema, rows)

    @property
    def typed_times(self) -> bool:
        """Whether the file's own type says what its times are."""
        return isinstance(self.schema[self.columns[Interactions.TIME]], pl.Datetime | pl.Date)

    def count_times(self) -> tuple[TimeCounts, int]:
        """Count what the times look like, and the rows."""
        if self.typed_times:
            return TimeCounts(), self.rows
        frame = self._selected([Interactions.TIME])
        return count_times(frame, frame.collect_schema()[Interactions.TIME]), self.rows

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Read the rows; see `columns.Batch`. A line is a row, counted from 1."""
        names = [*self.columns]
        frame = self._selected(names)
        done = 0
        for batch in frame.collect_batches(chunk_size=rows, maintain_order=True):
            line = pl.int_range(done + 1, done + len(batch) + 1, dtype=pl.Int64, eager=True)
            done += len(batch)
            yield batch.with_columns(
                line.alias(Batch.LINE),
                pl.lit(None, pl.String).alias(Batch.MALFORMED),
                pl.lit(None, pl.String).alias(Batch.RAW),
                *(
                    pl.lit(None, pl.Float32).alias(name)
                    for name in (Interactions.RATING,)
                    if name not in self.columns
                ),
            )

    def _selected(self, names: Sequence[str]) -> pl.LazyFrame:
        expressions = []
        for name in names:
            column = pl.col(self.columns[name])
            dtype = self.schema[self.columns[name]]
            if name in (Interactions.USER, Interactions.ITEM):
                column = column.cast(pl.String)
            elif isinstance(dtype, pl.Datetime | pl.Date):
                column = column.cast(pl.Datetime("us")).dt.epoch("us")
            elif not dtype.is_numeric():
                column = column.cast(pl.String)
            elif dtype.is_decimal():
                column = column.cast(pl.Float64)
            expressions.append(column.alias(name))
        return pl.scan_parquet(self.path).select(expressions)


def checked_rows(path: Path, growth: int) -> int:
    """Count the rows by the footer, once the footer is believable.

    Raises `DataError` when it cannot be read, points outside the file, or promises more than `growth`
    times the file beyond what any may become.
    """
    try:
        metadata = pq.read_metadata(path, memory_map=False)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); write it again") from None
    size = path.stat().st_size
    packed = sum(
        group.column(number).total_compressed_size
        for group in groups
        for number in range(group.num_columns)
    )
    promised = sum(group.total_byte_size for group in groups)
    rows = int(metadata.num_rows)
    counted = sum(group.num_rows for group in groups)
    becomes = max(promised, _ROW_BYTES * rows)
    if becomes > FREE_BYTES and becomes > growth * size:
        raise too_much(path, size, becomes, growth)
    if packed > size or rows < 0 or counted != rows:
        raise DataError(
            f"{path}: its footer promises {rows:,} rows in {promised:,} bytes, the file has {size:,} "
            "bytes; it is damaged or not what it says, write it again"
        )
    return rows
