"""Recognising what a file is from its name and its first bytes."""

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slmrec.columns import Interactions, Items
from slmrec.config import ColumnNames, IngestInteractions
from slmrec.errors import DataError, SourceMissingError

HEAD_BYTES = 65_536
DELIMITERS = (",", ";", "\t")

# Names that public logs use, in lower case without "_" and "-", by canonical column.
RECOGNISED: Mapping[str, tuple[str, ...]] = {
    Interactions.USER: ("user", "userid", "uid", "reviewerid", "customerid", "visitorid"),
    Interactions.ITEM: (
        *("item", "itemid", "iid", "movieid", "parentasin", "asin", "productid", "articleid"),
        *("bookid", "trackid"),
    ),
    Interactions.TIME: (
        *("timestamp", "time", "ts", "unixreviewtime", "eventtime", "datetime", "date"),
    ),
    Interactions.RATING: ("rating", "overall", "score", "stars"),
    Items.TITLE: ("title", "name", "itemtitle"),
    Items.CATEGORY: ("category", "genres", "genre", "categories", "maincategory"),
}
_SETTING = {
    Interactions.USER: "user",
    Interactions.ITEM: "item",
    Interactions.TIME: "timestamp",
    Interactions.RATING: "rating",
    Items.TITLE: "title",
    Items.CATEGORY: "category",
}


@dataclass(frozen=True)
class Layout:
    """How a file is cut into fields."""

    kind: str
    """`parquet`; `delimited`, with a header; `lines`, `::` between fields; `bare`, no header."""
    separator: str = ","
    header: tuple[str, ...] = ()


def recognise(path: Path, settings: IngestInteractions) -> Layout:
    """Tell a file's layout, from `settings.format` or, with `auto`, from its name and first bytes.

    Raises `SourceMissingError` when the file does not exist and `DataError` when it is empty or is
    not what `settings.format` says.
    """
    head = _head(path)
    name = path.name.removesuffix(".gz").lower()
    if head.startswith(b"PAR1"):
        if settings.format not in ("auto", "parquet"):
            raise DataError(
                f"{path}: is a Parquet file, ingest_interactions.format says '{settings.format}'; "
                "set it to 'parquet' or 'auto'"
            )
        return Layout("parquet")
    if settings.format == "parquet":
        raise DataError(
            f"{path}: does not start like a Parquet file (found {head[:4]!r}, expected b'PAR1'); "
            "set ingest_interactions.format to what the file is"
        )
    first_line = head.decode("utf-8-sig", errors="replace").splitlines()[0]
    if settings.format != "csv":
        if "::" in first_line:
            return Layout("lines", "::")
        if name == "u.data":
            return Layout("bare", "\t")
        if name == "u.item":
            return Layout("bare", "|")
    separator = max(DELIMITERS, key=first_line.count)
    header = next(csv.reader([first_line], delimiter=separator), [])
    return Layout("delimited", separator, tuple(field.strip() for field in header))


def match_columns(
    path: Path,
    found: Sequence[str],
    wanted: Sequence[str],
    required: Sequence[str],
    mapping: ColumnNames,
) -> dict[str, str]:
    """Map canonical names to a file's columns, from the configuration or recognised names.

    Raises `DataError` naming the file, the columns found, and the setting that names the right one.
    """
    matched: dict[str, str] = {}
    plain = {_plain(name): name for name in reversed(found)}
    for canonical in wanted:
        setting = f"ingest_interactions.columns.{_SETTING[canonical]}"
        named = getattr(mapping, _SETTING[canonical])
        if named in found:
            matched[canonical] = named
            continue
        if named and canonical in required:
            raise DataError(
                f"{path}: no column '{named}' ({setting}); found: {_listed(found)}; "
                f"set {setting} to one of them"
            )
        choices = [canonical.replace("_", ""), *RECOGNISED[canonical]]
        source = next((plain[choice] for choice in choices if choice in plain), None)
        if source is not None and not named:
            matched[canonical] = source
        elif canonical in required:
            raise DataError(
                f"{path}: no column for {canonical}; found: {_listed(found)}; expected a header "
                f"with one of: {', '.join(RECOGNISED[canonical])}; or set {setting}"
            )
    return matched


def _head(path: Path) -> bytes:
    if not path.is_file():
        raise SourceMissingError(f"{path}: no such file")
    try:
        with path.open("rb") as raw:
            head = raw.read(HEAD_BYTES)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as stream:
                head = stream.read(HEAD_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a whole gzip file ({error}); fetch it again") from None
    if not head.strip():
        raise DataError(f"{path}: the file is empty, expected interactions or items")
    return head.lstrip(b"\r\n")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:40]) or "nothing"
