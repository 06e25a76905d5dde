"""Opening a log: its files, what they are, how they write their times, and their rows in batches."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slmrec.columns import Interactions
from slmrec.config import IngestInteractions
from slmrec.data.formats import match_columns, recognise
from slmrec.data.parquet_reader import ParquetPart
from slmrec.data.plain import unpacked
from slmrec.data.source import SourceFile, resolve
from slmrec.data.text_readers import DelimitedPart, JsonPart, LinesPart, SequencesPart
from slmrec.data.times import POSITIONS, TYPED, TimeCounts, TimeFormat
from slmrec.errors import DataError
from slmrec.progress import Progress

LOG_COLUMNS = (Interactions.USER, Interactions.ITEM, Interactions.RATING, Interactions.TIME)
REQUIRED = (Interactions.USER, Interactions.ITEM, Interactions.TIME)
Part = DelimitedPart | JsonPart | LinesPart | ParquetPart | SequencesPart


@dataclass(frozen=True)
class Log:
    """A source of interactions, opened."""

    parts: Sequence[Part]
    """Its files, in order of name; each gives its rows in batches."""
    time_format: TimeFormat
    """How every file writes its times."""
    order_only: bool
    """Whether times are positions in a history and nothing more."""
    rows: int
    """About how many rows there are, for progress."""


def open_log(
    source: str,
    settings: IngestInteractions,
    scratch: Path,
    progress: Progress,
    downloads: Path | None = None,
) -> Log:
    """Find and recognise the files of a source, and read through their times once.

    What was assumed is said through `progress`. Packed text is unpacked into `scratch`, where
    objects of Cloud Storage are downloaded to, too, if not into `downloads`. Raises
    `SourceMissingError`, and `DataError` naming the file and what does not fit.
    """
    parts = []
    first_said: dict[str, str] = {}
    said: Counter[str] = Counter()
    for number, file in enumerate(resolve(source)):
        folder = scratch / f"part-{number:05d}"
        path = file.local(downloads or folder, progress)
        part, described = _part(file, path, settings, folder, first_said)
        parts.append(part)
        said[described] += 1
    for described, files in said.items():
        named = parts[0].name if len(parts) == 1 else f"{files} of {len(parts)} files"
        progress.say(f"{named}: read as {described}")
    kinds = {isinstance(part, SequencesPart) for part in parts}
    if len(kinds) > 1:
        raise DataError(f"{source}: holds files with times and files without; separate them")
    order_only = kinds == {True}
    time_format, rows = _times(source, parts, progress)
    return Log(parts, POSITIONS if order_only else time_format, order_only, rows)


def _part(
    file: SourceFile,
    path: Path,
    settings: IngestInteractions,
    scratch: Path,
    first_said: dict[str, str],
) -> tuple[Part, str]:
    layout = recognise(path, settings)
    if layout.kind == "parquet":
        part = ParquetPart.open(file.name, path, _chosen(path, settings), settings.max_growth)
        return part, f"{layout.described}{_mapping(part.columns)}"
    plain = unpacked(path, scratch, settings)
    if layout.kind == "sequences":
        return SequencesPart(file.name, plain, first_said), layout.described
    if layout.kind == "json":
        columns = JsonPart.columns_of(plain, _chosen(path, settings))
        return JsonPart(file.name, plain, columns), layout.described + _mapping(columns)
    columns = _chosen(path, settings)(layout.fields)
    described = layout.described + _mapping(columns)
    kind = LinesPart if layout.kind == "lines" else DelimitedPart
    return kind(file.name, plain, layout, columns), described


def _chosen(path: Path, settings: IngestInteractions) -> Callable[[Sequence[str]], dict[str, str]]:
    asked = settings.columns.rating or settings.min_rating is not None
    required = [*REQUIRED, Interactions.RATING] if asked else REQUIRED

    def choose(found: Sequence[str]) -> dict[str, str]:
        return match_columns(path, found, LOG_COLUMNS, required, settings.columns)

    return choose


def _mapping(columns: dict[str, str]) -> str:
    renamed = {name: found for name, found in columns.items() if name != found}
    if not renamed:
        return ""
    return "; " + ", ".join(f"{name} from '{found}'" for name, found in renamed.items())


def _times(source: str, parts: Sequence[Part], progress: Progress) -> tuple[TimeFormat, int]:
    counts = TimeCounts()
    rows = 0
    typed = [part.name for part in parts if isinstance(part, ParquetPart) and part.typed_times]
    if typed and len(typed) < len(parts):
        other = next(part.name for part in parts if part.name not in typed)
        raise DataError(
            f"{source}: '{typed[0]}' has typed timestamps, '{other}' has numbers or text; write "
            "all files alike"
        )
    for part in parts:
        found, number = part.count_times()
        counts += found
        rows += number
    time_format = TYPED if typed else counts.time_format()
    if not all(isinstance(part, SequencesPart) for part in parts):
        progress.say(f"times read as {time_format.name}")
    return time_format, rows
