"""From raw files to the canonical log, its item table, its quarantine and its data card."""

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from slmrec.artifacts import write_json
from slmrec.columns import Interactions, Quarantine
from slmrec.config import IngestInteractions
from slmrec.data.card import data_card
from slmrec.data.formats import recognise
from slmrec.data.quality import FILTERED, judge
from slmrec.data.readers import no_items, read_interactions, read_items
from slmrec.data.sample import Sample, is_sample, parse_sample, sample_interactions, sample_items
from slmrec.data.source import local_file
from slmrec.data.times import detect_time_format
from slmrec.errors import ConfigError, DataError
from slmrec.progress import Progress
from slmrec.storage import fetch, is_remote

KIND = "interactions"
LOG = "interactions.parquet"
ITEMS = "items.parquet"
QUARANTINE = "quarantine.parquet"
CARD = "card.json"
_QUARANTINE_COLUMNS = (Quarantine.ROW, Quarantine.REASON, Quarantine.TEXT)
_LOG_COLUMNS = (
    Interactions.USER,
    Interactions.ITEM,
    Interactions.TIME,
    Interactions.RATING,
    Interactions.ROW,
)


def ingest(
    interactions: str,
    items: str,
    settings: IngestInteractions,
    directory: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Write the canonical files of a source into `directory` and return the data card.

    Rows of `interactions.parquet` stay in source order (ascending `row`), so that ties in time can
    be resolved by it and no sort is paid for here; `items.parquet` is sorted by item id.

    Raises `SourceMissingError`, `ConfigError`, and `DataError` naming the file and what is wrong.
    """
    if is_sample(interactions):
        filtered = _write_sample(interactions, items, settings, directory, progress)
    elif is_sample(items):
        raise ConfigError(f"items is '{items}', expected a file: only a sample has sample items")
    else:
        with tempfile.TemporaryDirectory(prefix="slmrec-") as scratch:
            filtered = _write_files(interactions, items, settings, directory, progress, scratch)
    card = data_card(directory / LOG, directory / ITEMS, directory / QUARANTINE, filtered)
    if not card["rows_in"]:
        raise DataError(f"{interactions}: a header and no rows, expected interactions")
    write_json(directory / CARD, card)
    return card


def _write_sample(
    interactions: str,
    items: str,
    settings: IngestInteractions,
    directory: Path,
    progress: Progress,
) -> int:
    sample = parse_sample(interactions)
    if items and not (is_sample(items) and parse_sample(items) in (sample, Sample())):
        raise ConfigError(
            f"items is '{items}', expected it empty: the sample brings its own item table"
        )
    least = settings.min_rating if settings.min_rating is not None else float("-inf")
    rows = kept = 0
    writer: pq.ParquetWriter | None = None
    try:
        for chunk in sample_interactions(sample):
            numbered = chunk.with_columns(
                pl.Series(Interactions.ROW, range(rows + 1, rows + len(chunk) + 1), pl.Int64)
            ).filter(pl.col(Interactions.RATING) >= least)
            rows += len(chunk)
            kept += len(numbered)
            table = numbered.select(_LOG_COLUMNS).to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(directory / LOG, table.schema, compression="zstd")
            writer.write_table(table)
            progress.update(rows, sample.interactions, "sample interactions")
    finally:
        if writer is not None:
            writer.close()
    sample_items(sample).write_parquet(directory / ITEMS)
    _empty_quarantine().write_parquet(directory / QUARANTINE)
    return rows - kept


def _write_files(
    interactions: str,
    items: str,
    settings: IngestInteractions,
    directory: Path,
    progress: Progress,
    scratch: str,
) -> int:
    log = _local(interactions, Path(scratch) / "interactions")
    catalogue = _local(items, Path(scratch) / "items") if items else None
    judged = Path(scratch) / "judged.parquet"
    try:
        _write_judged(log, settings, judged, progress)
        rows = pl.scan_parquet(judged)
        sound = pl.col(Quarantine.REASON).is_null()
        kept = rows.filter(sound & ~pl.col(FILTERED)).select(_LOG_COLUMNS)
        kept.sink_parquet(directory / LOG, maintain_order=True)
        bad = rows.filter(~sound).select(_QUARANTINE_COLUMNS)
        bad.sink_parquet(directory / QUARANTINE, maintain_order=True)
        filtered = rows.select(pl.col(FILTERED).sum()).collect(engine="streaming").item()
        table = read_items(catalogue, settings, progress) if catalogue else no_items()
    except (pl.exceptions.PolarsError, EOFError, pa.ArrowException) as error:
        raise _unreadable(interactions, items, error) from error
    table.write_parquet(directory / ITEMS)
    return int(filtered or 0)


def _write_judged(
    log: Path, settings: IngestInteractions, judged: Path, progress: Progress
) -> None:
    def write(*, quotes: bool) -> None:
        frame = read_interactions(log, settings, progress, quotes=quotes)
        time_format = detect_time_format(frame)
        progress.say(f"{log.name}: times read as {time_format.name}")
        judge(frame, time_format, settings).sink_parquet(judged, maintain_order=True)

    try:
        write(quotes=True)
    except pl.exceptions.ComputeError:
        if recognise(log, settings).kind != "delimited":
            raise
        progress.say(f"{log.name}: its quotation marks do not pair; reading them as letters")
        write(quotes=False)
    except OSError as error:
        raise DataError(f"{log}: cannot be read to its end ({error}); fetch it again") from error


def _unreadable(interactions: str, items: str, error: Exception) -> DataError:
    first = (str(error).splitlines() or [type(error).__name__])[0][:300]
    named = f"{interactions} or {items}" if items else interactions
    return DataError(
        f"{named}: cannot be read ({first}); check the file, or set ingest_interactions.format"
    )


def _local(source: str, directory: Path) -> Path:
    return fetch(source, directory) if is_remote(source) else local_file(source)


def _empty_quarantine() -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            Quarantine.ROW: pl.Int64,
            Quarantine.REASON: pl.String,
            Quarantine.TEXT: pl.String,
        }
    )
