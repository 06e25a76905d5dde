"""From raw files to the canonical log, its item table, its quarantine and its data card."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from slmrec.artifacts import write_json
from slmrec.columns import Batch, Interactions, Quarantine
from slmrec.config import IngestInteractions
from slmrec.data.ahead import mapped_ahead
from slmrec.data.histories import MICROSECONDS, LogFigures, TieOrder
from slmrec.data.item_reader import no_items, read_items
from slmrec.data.log_file import LogWriter
from slmrec.data.quality import FILTERED, MOMENT, TEXT_LENGTH, IdColumn, JudgedIds, judge, set_aside
from slmrec.data.readers import open_log
from slmrec.data.sample import Sample, is_sample, parse_sample, sample_interactions, sample_items
from slmrec.data.spool import ROW, Rows, Spool
from slmrec.data.times import SECONDS, TimeFormat
from slmrec.errors import ConfigError, DataError, first_line
from slmrec.progress import Progress

KIND = "interactions"
LOG = "interactions.parquet"
ITEMS = "items.parquet"
QUARANTINE = "quarantine.parquet"
CARD = "card.json"
DUPLICATE = "duplicate row"
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises on damaged files; a panic is no `Exception` of Python's."""
_QUARANTINE_SCHEMA = pa.schema(
    [
        (Quarantine.FILE, pa.large_string()),
        (Quarantine.LINE, pa.int64()),
        (Quarantine.REASON, pa.large_string()),
        (Quarantine.TEXT, pa.large_string()),
    ]
)


class Part(Protocol):
    """One file of a source."""

    @property
    def name(self) -> str:
        """Name within the source."""
        ...

    def batches(self) -> Iterator[pl.DataFrame]:
        """Read the rows, columns `Batch` and USER, ITEM, TIME, RATING of `Interactions`."""
        ...


class Log(Protocol):
    """A source of interactions, opened."""

    @property
    def parts(self) -> Sequence[Part]:
        """The files, in order of name."""
        ...

    @property
    def time_format(self) -> TimeFormat:
        """How every file writes its times."""
        ...

    @property
    def order_only(self) -> bool:
        """Whether the times are positions in a history and nothing more."""
        ...

    @property
    def rows(self) -> int:
        """Rows of all files; for progress, so an estimate will do; 0 when nobody knows."""
        ...


def ingest(
    interactions: str,
    items: str,
    settings: IngestInteractions,
    directory: Path,
    progress: Progress,
    downloads: Path | None = None,
) -> dict[str, Any]:
    """Write the canonical files of a source into `directory` and return the data card.

    `interactions.parquet` holds whole users in the order of their ids' bytes, each history in
    order; `items.parquet` is sorted by item id. `rows_in` of the card is always `kept` +
    `filtered` + `quarantined`. What is downloaded into `downloads`, if given, is found there again.

    Raises `SourceMissingError`, `ConfigError`, and `DataError` naming the file and what is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="slmrec-") as scratch:
        folder = Path(scratch)
        try:
            log = _opened(interactions, items, settings, folder, progress, downloads)
            table = _item_table(interactions, items, settings, folder, progress, downloads)
            with _Quarantine(directory / QUARANTINE) as quarantine:
                counts = _write_log(log, settings, folder, directory / LOG, quarantine, progress)
        except (*_UNREADABLE, EOFError, pa.ArrowException) as error:
            raise _unreadable(interactions, items, error) from error
    if not counts["rows_in"]:
        raise DataError(f"{interactions}: a header and no rows, expected interactions")
    table.write_parquet(directory / ITEMS)
    card = {
        **counts,
        "quarantined": sum(quarantine.reasons.values()),
        "quarantine_reasons": dict(sorted(quarantine.reasons.items())),
        "described_items": len(table),
        "files": len(log.parts),
        "time_format": log.time_format.name,
        "order_only": log.order_only,
    }
    write_json(directory / CARD, card)
    return card


def _opened(
    interactions: str,
    items: str,
    settings: IngestInteractions,
    scratch: Path,
    progress: Progress,
    downloads: Path | None,
) -> Log:
    if is_sample(interactions):
        sample = parse_sample(interactions)
        if items and not (is_sample(items) and parse_sample(items) in (sample, Sample())):
            raise ConfigError(
                f"items is '{items}', expected it empty: the sample brings its own item table"
            )
        return _SampleLog(sample)
    if is_sample(items):
        raise ConfigError(f"items is '{items}', expected a file: only a sample has sample items")
    return open_log(interactions, settings, scratch, progress, downloads)


def _item_table(
    interactions: str,
    items: str,
    settings: IngestInteractions,
    scratch: Path,
    progress: Progress,
    downloads: Path | None,
) -> pl.DataFrame:
    if is_sample(interactions):
        return sample_items(parse_sample(interactions))
    if not items:
        return no_items()
    return read_items(items, settings, scratch, progress, downloads)


def _write_log(
    log: Log,
    settings: IngestInteractions,
    scratch: Path,
    path: Path,
    quarantine: "_Quarantine",
    progress: Progress,
) -> dict[str, Any]:
    users, items = (IdColumn(kind, settings.max_id_length) for kind in ("user", "item"))
    spool = Spool(scratch)
    counts = {"rows_in": 0, "filtered": 0}
    starts = [0]  # `row` of the last line before each part

    def with_users(batch: pl.DataFrame) -> tuple[pl.DataFrame, JudgedIds]:
        return batch, users.read(batch[Interactions.USER])

    def with_verdict(read: tuple[pl.DataFrame, JudgedIds]) -> tuple[pl.DataFrame, pl.DataFrame]:
        batch, user = read
        item = items.read(batch[Interactions.ITEM])
        return batch, judge(batch, log.time_format, settings, user, item)

    for part in log.parts:
        last = 0
        # A thread for each of the two, since ids must be met in order.
        batches = mapped_ahead(with_users, part.batches(), workers=1)
        for batch, judged in mapped_ahead(with_verdict, batches, workers=1):
            sound = judged.filter(pl.col(Quarantine.REASON).is_null() & ~pl.col(FILTERED))
            spool.append(_rows(sound, starts[-1]))
            users.identifiers.count(sound[Interactions.USER].to_numpy())
            items.identifiers.count(sound[Interactions.ITEM].to_numpy())
            if judged[Quarantine.REASON].null_count() < len(judged):
                quarantine.add(set_aside(batch, judged, part.name))
            counts["rows_in"] += len(batch)
            counts["filtered"] += int(judged[FILTERED].sum())
            last = int(batch[Batch.LINE].max() or last)  # type: ignore[arg-type]
            progress.update(counts["rows_in"], 2 * max(log.rows, counts["rows_in"]), "rows read")
        starts.append(starts[-1] + last)
    user_ids, user_rank, rows_of_user = users.identifiers.ranked()
    item_ids, item_rank, _ = items.identifiers.ranked()
    origin = _Origin([part.name for part in log.parts], starts, user_ids, item_ids)
    figures = LogFigures()
    tie_order = TieOrder(settings.ties, item_ids)
    partitions = spool.partitions(user_rank, item_rank, rows_of_user)
    with LogWriter(path, user_ids, item_ids) as writer:

        def arranged(rows: Rows) -> tuple[pa.Table, Rows, LogFigures]:
            kept, repeated, found = tie_order.arrange(rows)
            return writer.table(kept), repeated, found

        for table, repeated, found in mapped_ahead(arranged, partitions):
            if len(repeated):
                quarantine.add(origin.duplicates(repeated))
            writer.write(table)
            figures.add(found)
            progress.update(spool.rows + figures.kept, 2 * spool.rows, "rows in order")
    return {**figures.card(), **counts, "users": len(user_ids), "items": len(item_ids)}


def _rows(sound: pl.DataFrame, start: int) -> Rows:
    rows: Rows = np.empty(len(sound), ROW)
    rows["user"] = sound[Interactions.USER].to_numpy()
    rows["item"] = sound[Interactions.ITEM].to_numpy()
    rows["moment"] = sound[MOMENT].to_numpy()
    rows["row"] = sound[Batch.LINE].to_numpy() + start
    rows["rating"] = sound[Interactions.RATING].fill_null(float("nan")).to_numpy()
    return rows


@dataclass(frozen=True)
class _Origin:
    """Where a row of the spool came from."""

    files: list[str]
    starts: list[int]
    users: pl.Series
    items: pl.Series

    def duplicates(self, rows: Rows) -> pl.DataFrame:
        """Give the quarantine's rows of duplicates, in the order of the source."""
        rows = rows[np.argsort(rows["row"])]
        part = np.searchsorted(self.starts, rows["row"], side="left") - 1
        rating = pl.Series(rows["rating"]).fill_nan(None)
        return pl.DataFrame(
            {
                Quarantine.FILE: pl.Series(self.files, dtype=pl.String).gather(part),
                Quarantine.LINE: rows["row"] - np.array(self.starts)[part],
                Quarantine.REASON: [DUPLICATE] * len(rows),
                "user": self.users.gather(rows["user"]),
                "item": self.items.gather(rows["item"]),
                "rating": rating,
                "time": rows["moment"] // MICROSECONDS,
            }
        ).select(
            Quarantine.FILE,
            Quarantine.LINE,
            Quarantine.REASON,
            pl.concat_str("user", "item", pl.col("rating").fill_null(""), "time", separator=",")
            .str.slice(0, TEXT_LENGTH)
            .alias(Quarantine.TEXT),
        )


class _Quarantine:
    """Writes set-aside rows as they are found and counts them by reason."""

    def __init__(self, path: Path) -> None:
        self.reasons: dict[str, int] = {}
        self._writer = pq.ParquetWriter(path, _QUARANTINE_SCHEMA, compression="zstd")

    def add(self, rows: pl.DataFrame) -> None:
        """Write rows, columns `Quarantine`."""
        for reason, number in rows[Quarantine.REASON].value_counts().iter_rows():
            self.reasons[reason] = self.reasons.get(reason, 0) + number
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._writer.write_table(table.cast(_QUARANTINE_SCHEMA))

    def __enter__(self) -> "_Quarantine":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


@dataclass(frozen=True)
class _SampleLog:
    """The built-in sample as a log of one part."""

    sample: Sample
    name: str = "sample"
    order_only: bool = False

    @property
    def time_format(self) -> TimeFormat:
        """Whole seconds."""
        return SECONDS

    @property
    def parts(self) -> Sequence[Part]:
        """The sample itself."""
        return (self,)

    @property
    def rows(self) -> int:
        """Interactions of the sample."""
        return self.sample.interactions

    def batches(self) -> Iterator[pl.DataFrame]:
        """Make the rows, a batch at a time."""
        done = 0
        for chunk in sample_interactions(self.sample):
            line = np.arange(done + 1, done + len(chunk) + 1)
            done += len(chunk)
            yield chunk.with_columns(
                pl.Series(Batch.LINE, line),
                pl.lit(None, pl.String).alias(Batch.MALFORMED),
                pl.lit(None, pl.String).alias(Batch.RAW),
            )


def _unreadable(interactions: str, items: str, error: Exception) -> DataError:
    named = f"{interactions} or {items}" if items else interactions
    return DataError(
        f"{named}: cannot be read ({first_line(error)}); check the file, or set "
        "ingest_interactions.format"
    )
