"""Text files of interactions, row by row: nothing is parsed, and no line is dropped."""

import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from slmrec.columns import Batch, Interactions
from slmrec.data.formats import Layout
from slmrec.data.times import TimeCounts, count_times
from slmrec.errors import DataError

BATCH_ROWS = 1_000_000
RAW_LENGTH = 1000
EMPTY = "empty line"
SURPLUS = "more fields than the header"
NOT_JSON = "not a JSON object"
NESTED = "a field is no text or number"
SAID_BEFORE = "second line of a user"
TOO_SHORT = "a user without items"
_FIELDS = (Interactions.USER, Interactions.ITEM, Interactions.RATING, Interactions.TIME)
_SURPLUS = "surplus field"
_ROW = "row number"
_LINE = "whole line"
_NO_SEPARATOR = "\x1f"
_JSON_LINES = 100_000
_SEQUENCE_LINES = 20_000
_SEQUENCE_BYTES = 4_000_000


@dataclass(frozen=True)
class DelimitedPart:
    """Fields between separators, quoted or not, with or without a header."""

    name: str
    path: Path
    layout: Layout
    columns: Mapping[str, str]
    """Canonical names and the file's own."""

    def count_times(self) -> tuple[TimeCounts, int]:
        """Count what the times look like, and the rows."""
        frame = self._scan(quotes=self.quoted).select(
            pl.col(self.columns[Interactions.TIME]).alias(Interactions.TIME)
        )
        rows = frame.select(pl.len()).collect(engine="streaming").item()
        return count_times(frame, pl.String()), int(rows)

    @cached_property
    def quoted(self) -> bool:
        """Whether quotation marks enclose fields; where they do not pair they are letters."""
        if not _contains(self.path, b'"'):
            return False
        needed = [pl.col(name) for name in self.columns.values()]
        broken = pl.any_horizontal(column.str.contains("\n", literal=True) for column in needed)
        try:
            lines = self._scan(quotes=True).select(broken.any()).collect(engine="streaming")
        except pl.exceptions.ComputeError:
            return False
        return not lines.item()

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Read the rows; see `columns.Batch`."""
        quoted = self.quoted
        frame = self._scan(quotes=quoted)
        needed = [*self.columns.values()]
        first = 1 + self.layout.lines_before
        breaks = 0
        everything = [*self.layout.fields, _SURPLUS] if quoted else [*needed, _SURPLUS]
        for batch in frame.select(_ROW, *everything).collect_batches(
            chunk_size=rows, maintain_order=True
        ):
            line = batch[_ROW].cast(pl.Int64) + first
            if quoted:  # a line end inside a quoted field is one more line of the file
                within = batch.select(
                    pl.sum_horizontal(
                        pl.col(name).str.count_matches("\n", literal=True).fill_null(0)
                        for name in everything
                    ).cast(pl.Int64)
                ).to_series()
                line = line + breaks + within.cum_sum() - within
                breaks += int(within.sum())
            yield _completed(batch, line, self.columns)

    def _scan(self, *, quotes: bool) -> pl.LazyFrame:
        fields = [*self.layout.fields]
        if len(set(fields)) < len(fields) or {_SURPLUS, _ROW} & set(fields):
            raise DataError(
                f"{self.path}: the header is {', '.join(fields)[:300]}; expected different names; "
                "rename the columns"
            )
        return pl.scan_csv(
            self.path,
            has_header=False,
            skip_rows=self.layout.lines_before,
            schema=dict.fromkeys([*fields, _SURPLUS], pl.String),
            missing_columns="insert",
            separator=self.layout.separator,
            quote_char='"' if quotes else None,
            truncate_ragged_lines=True,
            encoding="utf8-lossy",
            row_index_name=_ROW,
        )


@dataclass(frozen=True)
class LinesPart:
    """Lines with a separator of several letters, as in MovieLens' `.dat`."""

    name: str
    path: Path
    layout: Layout
    columns: Mapping[str, str]

    def count_times(self) -> tuple[TimeCounts, int]:
        """Count what the times look like, and the rows."""
        frame = self._split()
        rows = frame.select(pl.len()).collect(engine="streaming").item()
        return count_times(frame.select(Interactions.TIME), pl.String()), int(rows)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Read the rows; see `columns.Batch`."""
        frame = self._split()
        for batch in frame.collect_batches(chunk_size=rows, maintain_order=True):
            yield _completed(batch, batch[_ROW].cast(pl.Int64) + 1, self.columns)

    def _split(self) -> pl.LazyFrame:
        names = [*self.layout.fields, _SURPLUS]
        parts = pl.col(_LINE).str.splitn(self.layout.separator, len(names))
        lines = scan_lines(self.path)
        return lines.with_columns(parts.struct.rename_fields(names).alias(_LINE)).unnest(_LINE)


@dataclass(frozen=True)
class JsonPart:
    """An object a line."""

    name: str
    path: Path
    columns: Mapping[str, str]

    @classmethod
    def columns_of(
        cls, path: Path, choose: Callable[[Sequence[str]], dict[str, str]]
    ) -> dict[str, str]:
        """Pick columns by the keys of the first thousand objects."""
        keys: dict[str, None] = {}
        with path.open("rb") as stream:
            for line in islice(stream, 1000):
                found = parsed_object(line.decode(errors="replace"))
                keys.update(dict.fromkeys(found or ()))
        return choose([*keys])

    def count_times(self) -> tuple[TimeCounts, int]:
        """Count what the times look like, and the rows."""
        counts, rows = TimeCounts(), 0
        for batch in self.batches():
            counts += count_times(batch.lazy(), pl.String())
            rows += len(batch)
        return counts, rows

    def batches(self, rows: int = _JSON_LINES) -> Iterator[pl.DataFrame]:
        """Read the rows; see `columns.Batch`."""
        lines = scan_lines(self.path)
        wanted = pl.Struct(dict.fromkeys(self.columns.values(), pl.String))
        for batch in lines.collect_batches(chunk_size=rows, maintain_order=True):
            text = batch[_LINE].fill_null("")
            try:
                fields = text.str.json_decode(wanted).struct.unnest()
                malformed = pl.Series([None] * len(text), dtype=pl.String)
                if fields.null_count().row(0) != (0,) * fields.width:
                    malformed = pl.select(
                        pl.when(text.str.strip_chars() == "").then(pl.lit(EMPTY))
                    ).to_series()
            except pl.exceptions.PolarsError:
                fields, malformed = _one_by_one(text, [*self.columns.values()])
            frame = fields.select(
                *(pl.col(found).alias(name) for name, found in self.columns.items()),
                *(
                    pl.lit(None, pl.String).alias(name)
                    for name in _FIELDS
                    if name not in self.columns
                ),
            )
            yield frame.with_columns(
                (batch[_ROW].cast(pl.Int64) + 1).alias(Batch.LINE),
                malformed.alias(Batch.MALFORMED),
                pl.select(pl.when(malformed.is_not_null()).then(text.str.slice(0, RAW_LENGTH)))
                .to_series()
                .alias(Batch.RAW),
            )


@dataclass(frozen=True)
class SequencesPart:
    """A user and their items a line: an order, no times. A time is the position in the line."""

    name: str
    path: Path
    first_said: dict[str, str]
    """User → the file with their line, shared by all files of a log; it fills while they are read."""

    def count_times(self) -> tuple[TimeCounts, int]:
        """Count the interactions; there are no times."""
        with self.path.open("rb") as stream:
            return TimeCounts(), sum(max(len(line.split()) - 1, 1) for line in stream)

    def batches(self, rows: int = _SEQUENCE_LINES) -> Iterator[pl.DataFrame]:
        """Read the rows, `rows` lines of the file at a time; see `columns.Batch`."""
        seen: set[str] = set()
        with self.path.open("rb") as stream:
            for lines in _batched(enumerate(stream, start=1), rows):
                yield self._expanded(lines, seen)

    def _expanded(self, lines: list[tuple[int, bytes]], seen: set[str]) -> pl.DataFrame:
        columns: dict[str, list[Any]] = {
            name: []
            for name in (Batch.LINE, *_FIELDS[:2], Interactions.TIME, Batch.MALFORMED, Batch.RAW)
        }
        for number, raw in lines:
            text = raw.decode("utf-8", errors="replace").strip("\ufeff\r\n")
            user, *items = text.split() or [""]
            fault = None
            if not items:
                fault = TOO_SHORT if user else EMPTY
            elif user in seen or self.first_said.setdefault(user, self.name) != self.name:
                fault = SAID_BEFORE
            seen.add(user)
            # A line that is set aside counts with every item on it, so that none is lost unseen.
            count = max(len(items), 1)
            columns[Batch.LINE] += [number] * count
            columns[Interactions.USER] += [user] * count
            columns[Interactions.ITEM] += items or [None]
            columns[Interactions.TIME] += range(count)
            columns[Batch.MALFORMED] += [fault] * count
            columns[Batch.RAW] += [text[:RAW_LENGTH] if fault else None] * count
        types = {Batch.LINE: pl.Int64, Interactions.TIME: pl.Int64}
        frame = pl.DataFrame(columns, schema={name: types.get(name, pl.String) for name in columns})
        return frame.with_columns(pl.lit(None, pl.String).alias(Interactions.RATING))


def _batched(numbered: Iterable[tuple[int, bytes]], rows: int) -> Iterator[list[tuple[int, bytes]]]:
    lines: list[tuple[int, bytes]] = []
    held = 0
    for number, line in numbered:
        lines.append((number, line))
        held += len(line)
        if len(lines) == rows or held > _SEQUENCE_BYTES:
            yield lines
            lines, held = [], 0
    if lines:
        yield lines


def scan_lines(path: Path) -> pl.LazyFrame:
    """Scan a file a line a row, whatever a line holds: its number from 0, and its text."""
    return pl.scan_csv(
        path,
        has_header=False,
        schema={_LINE: pl.String},
        separator=_NO_SEPARATOR,
        quote_char=None,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
        row_index_name=_ROW,
    )


def parsed_object(line: str) -> dict[str, Any] | None:
    """Parse a line as a JSON object; nothing where it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _one_by_one(text: pl.Series, names: list[str]) -> tuple[pl.DataFrame, pl.Series]:
    values: dict[str, list[str | None]] = {name: [] for name in names}
    faults: list[str | None] = []
    for line in text:
        found = parsed_object(line) if line.strip() else {}
        fault = None
        if not line.strip():
            fault = EMPTY
        elif found is None:
            fault = NOT_JSON
        elif any(isinstance(found.get(name), dict | list) for name in names):
            fault = NESTED
        faults.append(fault)
        for name in names:
            value = (found or {}).get(name)
            plain = value is not None and fault is None
            values[name].append(str(value) if plain else None)
    frame = pl.DataFrame(values, schema=dict.fromkeys(names, pl.String))
    return frame, pl.Series(faults, dtype=pl.String)


def _completed(batch: pl.DataFrame, line: pl.Series, columns: Mapping[str, str]) -> pl.DataFrame:
    # Adds what is said of each row; the text of a malformed one is put together from its fields.
    frame = batch.select(
        line.alias(Batch.LINE),
        *(pl.col(found).alias(name) for name, found in columns.items()),
        *(pl.lit(None, pl.String).alias(name) for name in _FIELDS if name not in columns),
        pl.col(_SURPLUS),
    )
    empty = pl.all_horizontal(
        (pl.col(name).is_null() | (pl.col(name).str.strip_chars() == "")) for name in columns
    )
    malformed = (
        pl.when(pl.col(_SURPLUS).is_not_null())
        .then(pl.lit(SURPLUS))
        .when(empty)
        .then(pl.lit(EMPTY))
    )
    frame = frame.with_columns(malformed.alias(Batch.MALFORMED))
    raw = pl.lit(None, pl.String)
    if frame[Batch.MALFORMED].null_count() < len(frame):
        fields = pl.concat_str(*columns, _SURPLUS, separator=",", ignore_nulls=True)
        raw = pl.when(pl.col(Batch.MALFORMED).is_not_null()).then(fields.str.slice(0, RAW_LENGTH))
    return frame.with_columns(raw.alias(Batch.RAW)).drop(_SURPLUS)


def _contains(path: Path, word: bytes) -> bool:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(word) >= 0
