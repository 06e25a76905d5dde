"""Readers: any supported file becomes a frame of text, so that no bad row is lost on the way."""

import gzip
import io
from pathlib import Path

import polars as pl

from slmrec.columns import Interactions, Items, Quarantine
from slmrec.config import IngestInteractions
from slmrec.data.formats import Layout, match_columns, recognise
from slmrec.errors import DataError
from slmrec.progress import Progress

SURPLUS = "surplus"
"""Column of `read_interactions`: the first field beyond the header, null where there is none."""
_LINE = "line"
_NO_SEPARATOR = "\x1f"
_BARE_LOG = (Interactions.USER, Interactions.ITEM, Interactions.RATING, Interactions.TIME)
# MovieLens 100K: u.item holds id|title|release|video|url and then a 0/1 flag for each genre.
_U_ITEM_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)


def read_interactions(
    path: Path, settings: IngestInteractions, progress: Progress, *, quotes: bool = True
) -> pl.LazyFrame:
    """Scan a log, one row a source row, nothing parsed and nothing dropped.

    Columns: row (int64, from 1), user_id, item_id, timestamp, rating, surplus and text (the whole
    row), all text. With `quotes=False` a quotation mark in a delimited file is an ordinary letter.

    Raises `SourceMissingError`, and `DataError` naming the columns found when they do not fit.
    """
    layout = recognise(path, settings)
    progress.say(f"{path.name}: {_described(layout)}")
    if layout.kind == "parquet":
        frame, names = _scan_parquet(path)
        columns = _log_columns(path, names, settings)
        fields = names
    elif layout.kind == "delimited":
        columns = _log_columns(path, layout.header, settings)
        fields = _unique(path, layout.header)
        frame = _scan(path, [*fields, SURPLUS], layout.separator, header=True, quotes=quotes)
    else:
        fields = list(_BARE_LOG)
        columns = {name: name for name in fields}
        if layout.kind == "lines":
            frame = _split_lines(_scan(path, [_LINE], _NO_SEPARATOR), [*fields, SURPLUS])
        else:
            frame = _scan(path, [*fields, SURPLUS], layout.separator)
    if layout.kind != "parquet" and settings.columns != type(settings.columns)():
        progress.say(f"{path.name}: columns {columns}")
    texts = [pl.col(name) for name in fields]
    surplus = pl.col(SURPLUS) if layout.kind != "parquet" else pl.lit(None, pl.String)
    missing = [name for name in _BARE_LOG if name not in columns]
    return frame.select(
        pl.col(Interactions.ROW).cast(pl.Int64),
        *(pl.col(source).alias(name) for name, source in columns.items()),
        *(pl.lit(None, pl.String).alias(name) for name in missing),
        surplus.alias(SURPLUS),
        pl.concat_str(*texts, surplus, separator=layout.separator, ignore_nulls=True).alias(
            Quarantine.TEXT
        ),
    )


def read_items(path: Path, settings: IngestInteractions, progress: Progress) -> pl.DataFrame:
    """Read an item file: columns `Items`, text, null where the source has nothing.

    Rows without an id are dropped; of several rows with one id the first counts. Text that is not
    UTF-8 is read as ISO 8859-1, which older MovieLens files are in.
    """
    layout = recognise(path, settings)
    progress.say(f"{path.name}: {_described(layout)}")
    if layout.kind == "parquet":
        scanned, names = _scan_parquet(path)
        frame = scanned.collect()
    else:
        text = _decoded(path, progress)
        if layout.kind == "lines":
            names = [Items.ITEM, Items.TITLE, Items.CATEGORY]
            frame = _split_lines(_scan(text, [_LINE], _NO_SEPARATOR), names).collect()
        elif layout.kind == "bare":
            names = [Items.ITEM, Items.TITLE, "release", "video", "url", *_U_ITEM_GENRES]
            frame = _scan(text, names, layout.separator).collect()
            flagged = [
                pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in _U_ITEM_GENRES
            ]
            frame = frame.select(
                Items.ITEM,
                Items.TITLE,
                pl.concat_str(flagged, separator="|", ignore_nulls=True).alias(Items.CATEGORY),
            )
            names = frame.columns
        else:
            names = _unique(path, layout.header)
            frame = _collect_items(path, text, names, layout.separator, progress)
    wanted = (Items.ITEM, Items.TITLE, Items.CATEGORY)
    mapping = settings.columns
    if mapping.item not in names:
        # The setting names the log's column; an item file may call its own differently.
        mapping = mapping.model_copy(update={"item": ""})
    columns = match_columns(path, names, wanted, (Items.ITEM,), mapping)
    return (
        frame.select(
            pl.col(columns[name]).str.strip_chars().alias(name)
            if name in columns
            else pl.lit(None, pl.String).alias(name)
            for name in wanted
        )
        .filter(pl.col(Items.ITEM).is_not_null() & (pl.col(Items.ITEM) != ""))
        .unique(Items.ITEM, keep="first", maintain_order=True)
        .sort(Items.ITEM)
    )


def no_items() -> pl.DataFrame:
    """Give the item table of a log that came without one."""
    return pl.DataFrame(
        schema={Items.ITEM: pl.String, Items.TITLE: pl.String, Items.CATEGORY: pl.String}
    )


def _collect_items(
    path: Path, text: bytes, names: list[str], separator: str, progress: Progress
) -> pl.DataFrame:
    try:
        return _scan(text, names, separator, header=True, quotes=True).collect()
    except pl.exceptions.ComputeError:
        progress.say(f"{path.name}: its quotation marks do not pair; reading them as letters")
        return _scan(text, names, separator, header=True).collect()


def _log_columns(
    path: Path, names: "list[str] | tuple[str, ...]", settings: IngestInteractions
) -> dict[str, str]:
    required = (Interactions.USER, Interactions.ITEM, Interactions.TIME)
    return match_columns(path, names, _BARE_LOG, required, settings.columns)


def _scan(
    source: Path | bytes,
    names: list[str],
    separator: str,
    *,
    header: bool = False,
    quotes: bool = False,
) -> pl.LazyFrame:
    return pl.scan_csv(
        source if isinstance(source, Path) else io.BytesIO(source),
        has_header=False,
        skip_rows=int(header),
        schema=dict.fromkeys(names, pl.String),
        missing_columns="insert",
        separator=separator,
        quote_char='"' if quotes else None,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
        row_index_name=Interactions.ROW,
        row_index_offset=1,
    )


def _split_lines(lines: pl.LazyFrame, names: list[str]) -> pl.LazyFrame:
    parts = pl.col(_LINE).str.splitn("::", len(names)).struct.rename_fields(names)
    return lines.with_columns(parts.alias(_LINE)).unnest(_LINE)


def _scan_parquet(path: Path) -> tuple[pl.LazyFrame, list[str]]:
    try:
        frame = pl.scan_parquet(path, row_index_name=_row_name(path), row_index_offset=1)
        schema = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); write it again") from None
    names = [name for name in schema.names() if name != Interactions.ROW]
    texts = []
    for name in names:
        column = pl.col(name)
        if isinstance(schema[name], pl.Datetime | pl.Date):
            column = column.dt.epoch("s")
        if schema[name].is_nested():
            column = column.cast(pl.List(pl.String)).list.join("|", ignore_nulls=True)
        texts.append(column.cast(pl.String))
    return frame.select(Interactions.ROW, *texts), names


def _row_name(path: Path) -> str:
    if Interactions.ROW in pl.read_parquet_schema(path):
        raise DataError(
            f"{path}: has a column '{Interactions.ROW}', which is reserved for the position in the "
            "source; rename it"
        )
    return Interactions.ROW


def _decoded(path: Path, progress: Progress) -> bytes:
    raw = path.read_bytes()
    if raw.startswith(b"\x1f\x8b"):
        raw = gzip.decompress(raw)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        progress.say(f"{path.name}: not UTF-8, reading it as ISO 8859-1")
        return raw.decode("latin-1").encode()
    return raw


def _unique(path: Path, names: tuple[str, ...]) -> list[str]:
    if len(set(names)) < len(names) or SURPLUS in names or Interactions.ROW in names:
        raise DataError(
            f"{path}: the header is {', '.join(names)}; expected different names, and none called "
            f"'{SURPLUS}' or '{Interactions.ROW}'; rename the columns"
        )
    return list(names)


def _described(layout: Layout) -> str:
    separator = "tab" if layout.separator == "\t" else f"'{layout.separator}'"
    return {
        "parquet": "read as Parquet",
        "delimited": f"read as text with a header, {separator} between fields",
        "lines": "read as MovieLens, '::' between fields",
        "bare": f"read as MovieLens 100K, {separator} between fields",
    }[layout.kind]
