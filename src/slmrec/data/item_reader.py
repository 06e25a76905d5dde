"""The item file: ids, titles and categories, in any supported format."""

import ast
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from slmrec.columns import Items
from slmrec.config import ColumnNames, IngestInteractions
from slmrec.data.formats import (
    U_ITEM_GENRES,
    Layout,
    match_columns,
    may_be_column,
    recognise,
)
from slmrec.data.parquet_pages import check_pages
from slmrec.data.parquet_reader import checked_rows
from slmrec.data.plain import unpacked
from slmrec.data.source import resolve
from slmrec.progress import Progress

COLUMNS = (Items.ITEM, Items.TITLE, Items.CATEGORY)
_LONGEST_LITERAL = 1_000_000
_MOST_NAMES = 10_000
"""Keys of objects that are looked at."""
_LINE = "line"


def read_items(
    source: str,
    settings: IngestInteractions,
    scratch: Path,
    progress: Progress,
    downloads: Path | None = None,
) -> pl.DataFrame:
    """Read an item file or several: columns `Items`, text, null where the source has nothing.

    Rows without an id are dropped and counted aloud; of several rows with one id the first counts,
    files in order of name. Text that is not UTF-8 is read as ISO 8859-1, which older MovieLens files
    are in. Objects of Cloud Storage are downloaded into `downloads`, else into `scratch`. Raises
    `SourceMissingError` and `DataError`.
    """
    frames = [
        _read_file(
            file.local(downloads or scratch, progress),
            settings,
            scratch / f"items-{number:05d}",
            progress,
        )
        for number, file in enumerate(resolve(source))
    ]
    frame = pl.concat(frames)
    present = frame.filter(pl.col(Items.ITEM).is_not_null() & (pl.col(Items.ITEM) != ""))
    if len(present) < len(frame):
        progress.say(f"{source}: {len(frame) - len(present):,} item rows have no id, left out")
    table = present.unique(Items.ITEM, keep="first", maintain_order=True).sort(Items.ITEM)
    if len(table) < len(present):
        progress.say(
            f"{source}: {len(present) - len(table):,} item rows repeat an id; the first counts"
        )
    return table


def no_items() -> pl.DataFrame:
    """Give the item table of a log that came without one."""
    return pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.String))


def _read_file(
    path: Path, settings: IngestInteractions, scratch: Path, progress: Progress
) -> pl.DataFrame:
    layout = recognise(path, settings, items=True)
    progress.say(f"{path.name}: read as {layout.described}")
    if layout.kind == "parquet":
        checked_rows(path, settings.max_growth)
        scanned = pl.scan_parquet(path)
        columns = _chosen(path, scanned.collect_schema().names(), settings.columns)
        check_pages(path, columns.values(), settings.max_growth)
        frame = _as_text(scanned.select({*columns.values()}).collect())
    else:
        text = _decoded(unpacked(path, scratch, settings), progress)
        if layout.kind == "json":
            frame, names = _objects(path, text, settings.columns, progress)
        else:
            frame = _from_text(path, text, layout, progress)
            names = frame.columns
        columns = _chosen(path, names, settings.columns)
    return frame.select(
        pl.col(columns[name]).str.strip_chars().alias(name)
        if name in columns
        else pl.lit(None, pl.String).alias(name)
        for name in COLUMNS
    )


def _chosen(path: Path, names: Sequence[str], mapping: ColumnNames) -> dict[str, str]:
    if mapping.item not in names:
        # The setting names the log's column; an item file may call its own differently.
        mapping = mapping.model_copy(update={"item": ""})
    return match_columns(path, names, COLUMNS, (Items.ITEM,), mapping)


def _from_text(path: Path, text: bytes, layout: Layout, progress: Progress) -> pl.DataFrame:
    if layout.kind == "lines":
        lines = _csv(text, [_LINE], "\x1f", quotes=False, skip=0)
        parts = pl.col(_LINE).str.splitn(layout.separator, len(layout.fields))
        return lines.select(parts.struct.rename_fields([*layout.fields])).unnest(_LINE)
    if layout.fields[-1:] == U_ITEM_GENRES[-1:]:
        frame = _csv(text, layout.fields, layout.separator, quotes=False, skip=0)
        flagged = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in U_ITEM_GENRES]
        genres = pl.concat_str(flagged, separator="|", ignore_nulls=True)
        return frame.select(Items.ITEM, Items.TITLE, genres.alias(Items.CATEGORY))
    try:
        return _csv(text, layout.fields, layout.separator, quotes=True, skip=layout.lines_before)
    except pl.exceptions.ComputeError:
        progress.say(f"{path.name}: its quotation marks do not pair; reading them as letters")
        return _csv(text, layout.fields, layout.separator, quotes=False, skip=layout.lines_before)


def _csv(
    text: bytes, names: Sequence[str], separator: str, *, quotes: bool, skip: int
) -> pl.DataFrame:
    return pl.read_csv(
        io.BytesIO(text),
        has_header=False,
        skip_rows=skip,
        schema=dict.fromkeys(names, pl.String),
        missing_columns="insert",
        separator=separator,
        quote_char='"' if quotes else None,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
    )


def _objects(
    path: Path, text: bytes, mapping: ColumnNames, progress: Progress
) -> tuple[pl.DataFrame, list[str]]:
    # Descriptions, prices and links of a million items would fill memory for nothing.
    names: dict[str, bool] = {}
    kept: dict[str, list[str | None]] = {}
    rows = unread = 0
    for line in io.BytesIO(text):
        found = _object(line.decode("utf-8", errors="replace"))
        if found is None:
            unread += bool(line.strip())
            continue
        for key, value in found.items():
            name = _whole(str(key))
            if name not in names and len(names) < _MOST_NAMES:
                names[name] = may_be_column(name, COLUMNS, mapping)
            if value is not None and names.get(name):
                values = kept.setdefault(name, [])
                values += [None] * (rows - len(values))
                if len(values) == rows:  # two keys may have become one name
                    values.append(_words(value))
        rows += 1
    if unread:
        progress.say(f"{path.name}: {unread:,} lines are no objects, left out")
    for values in kept.values():
        values += [None] * (rows - len(values))
    return pl.DataFrame(kept, schema=dict.fromkeys(kept, pl.String)), [
        name for name, wanted in names.items() if not wanted or name in kept
    ]


def _object(line: str) -> dict[Any, Any] | None:
    """Parse JSON, or the Python literal that Amazon's metadata of 2014 has on each line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        if len(line) > _LONGEST_LITERAL:
            return None
        try:
            found = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _words(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(dict.fromkeys(_words(part) for part in value if part is not None))
    return _whole(str(value))


def _whole(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can write and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    columns = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.List | pl.Array):
            column = column.cast(pl.List(pl.String)).list.join("|", ignore_nulls=True)
        elif isinstance(dtype, pl.Struct):
            column = column.struct.json_encode()
        columns.append(column.cast(pl.String))
    return frame.select(columns)


def _decoded(path: Path, progress: Progress) -> bytes:
    raw = path.read_bytes()
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        progress.say(f"{path.name}: not UTF-8, reading it as ISO 8859-1")
        return raw.decode("latin-1").encode()
    return raw
