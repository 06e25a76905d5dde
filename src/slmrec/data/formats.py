"""Recognising what a file is from its name and its first bytes."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slmrec.columns import Interactions, Items
from slmrec.config import ColumnNames, IngestInteractions
from slmrec.data.plain import HEAD_BYTES, head_of, refuse_no_text
from slmrec.errors import DataError

DELIMITERS = (",", ";", "\t", "|")

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
    Items.TITLE: ("title", "name", "itemtitle", "movietitle", "productname"),
    Items.CATEGORY: ("category", "genres", "genre", "categories", "maincategory", "class"),
}
SETTING = {
    Interactions.USER: "user",
    Interactions.ITEM: "item",
    Interactions.TIME: "timestamp",
    Interactions.RATING: "rating",
    Items.TITLE: "title",
    Items.CATEGORY: "category",
}
_MOVIELENS_LOG = (Interactions.USER, Interactions.ITEM, Interactions.RATING, Interactions.TIME)
_AMAZON_2018_LOG = (Interactions.ITEM, Interactions.USER, Interactions.RATING, Interactions.TIME)
# MovieLens 100K: u.item holds id|title|release|video|url and then a 0/1 flag for each genre.
U_ITEM_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
_U_ITEM = (Items.ITEM, Items.TITLE, "release", "video", "url", *U_ITEM_GENRES)
_TYPED = re.compile(r"(.+):(token|float|token_seq|float_seq)")


@dataclass(frozen=True)
class Layout:
    """How a file is cut into fields."""

    kind: str
    """`parquet`; `delimited`; `lines`, with `::` between fields; `json`, an object a line;
    `sequences`, a user and their items a line."""
    described: str = field(compare=False)
    """What is told to the user."""
    separator: str = ","
    fields: tuple[str, ...] = ()
    """Names of the fields in order; empty for Parquet and JSON, which name their own."""
    header: bool = False
    """Whether the first line names the fields."""
    empty_lines: int = 0
    """Before the header."""

    @property
    def lines_before(self) -> int:
        """Before the first row."""
        return self.empty_lines + self.header


def recognise(path: Path, settings: IngestInteractions, *, items: bool = False) -> Layout:
    """Tell a file's layout, from `settings.format` or, with `auto`, from its name and first bytes.

    `items` says that it is an item file. Raises `DataError` when the file is empty, is no text, or
    is not what `settings.format` says.
    """
    head = head_of(path)
    wanted = settings.format
    if head.startswith(b"PAR1"):
        _require(path, wanted in ("auto", "parquet"), "a Parquet file", wanted)
        return Layout("parquet", "Parquet")
    refuse_no_text(path, head)
    if wanted == "parquet":
        raise DataError(
            f"{path}: does not start like a Parquet file (found {head[:4]!r}, expected b'PAR1'); "
            "set ingest_interactions.format to what the file is"
        )
    text = head.decode("utf-8-sig", errors="replace")
    before = text[: len(text) - len(text.lstrip("\r\n"))]
    text = text.removeprefix(before)
    if not text:
        raise DataError(f"{path}: the file is empty, expected interactions or items")
    line = text.splitlines()[0]
    name = path.name.lower()
    for suffix in (".gz", ".zst", ".zstd"):
        name = name.removesuffix(suffix)
    if wanted == "sequences-txt" or (
        wanted == "auto" and not items and _like_sequences(name, line)
    ):
        return Layout("sequences", "a user and their items a line, an order and no times")
    if wanted in ("auto", "jsonl", "amazon-2014", "amazon-2018") and line.startswith(("{", "[")):
        return _json(path, line, wanted)
    _require(path, wanted != "jsonl", "not JSON lines", wanted)
    if wanted in ("auto", "movielens"):
        found = _movielens(name, line, items=items)
        if found:
            return found
    if wanted in ("amazon-2014", "amazon-2018") or (
        wanted == "auto" and re.fullmatch(r"ratings_\w+\.csv", name) and not items
    ):
        fields = _AMAZON_2018_LOG if wanted == "amazon-2018" else _MOVIELENS_LOG
        return Layout("delimited", f"Amazon ratings, {', '.join(fields)}", ",", fields)
    table = _delimited(path, line, wanted, name, whole=len(text.splitlines()) > 1)
    return replace(table, empty_lines=before.count("\n"))


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
        setting = f"ingest_interactions.columns.{SETTING[canonical]}"
        named = getattr(mapping, SETTING[canonical])
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


def may_be_column(name: str, wanted: Sequence[str], mapping: ColumnNames) -> bool:
    """Whether `match_columns` could take a column of that name for one of the `wanted`."""
    named = {getattr(mapping, SETTING[canonical]) for canonical in wanted}
    choices = {
        choice
        for canonical in wanted
        for choice in (canonical.replace("_", ""), *RECOGNISED[canonical])
    }
    return name in named or _plain(name) in choices


def _movielens(name: str, line: str, *, items: bool) -> Layout | None:
    if "::" in line:
        fields = (Items.ITEM, Items.TITLE, Items.CATEGORY) if items else _MOVIELENS_LOG
        return Layout("lines", "MovieLens, '::' between fields", "::", fields)
    if name == "u.data":
        return Layout("delimited", "MovieLens 100K, tab between fields", "\t", _MOVIELENS_LOG)
    if name == "u.item":
        return Layout("delimited", "MovieLens 100K items, '|' between fields", "|", _U_ITEM)
    return None


def _json(path: Path, line: str, wanted: str) -> Layout:
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        first = None
    if line.startswith("[") or (first is not None and not isinstance(first, dict)):
        raise DataError(
            f"{path}: is a JSON array, expected an object a line; write one with "
            "jq -c '.[]' or df.to_json(orient='records', lines=True)"
        )
    amazon = wanted.startswith("amazon") or (isinstance(first, dict) and "reviewerID" in first)
    return Layout("json", "Amazon reviews, JSON lines" if amazon else "JSON lines")


def _delimited(path: Path, line: str, wanted: str, name: str, *, whole: bool) -> Layout:
    separator = max(DELIMITERS, key=line.count)
    if wanted in ("csv", "tsv"):
        separator = "\t" if wanted == "tsv" else max((",", ";"), key=line.count)
    if len(line) >= HEAD_BYTES // 2 and not whole:
        raise DataError(
            f"{path}: a header of more than {HEAD_BYTES // 1024} KB; expected a table of interactions "
            "or items; leave out columns that nobody needs"
        )
    header = tuple(part.strip() for part in next(csv.reader([line], delimiter=separator), []))
    typed = [_TYPED.fullmatch(part) for part in header]
    if wanted == "recbole" or (header and all(typed)):
        if not all(typed):
            raise DataError(
                f"{path}: its header is {line[:200]!r}, expected typed names as in "
                "user_id:token; set ingest_interactions.format to what the file is"
            )
        names = tuple(match.group(1) for match in typed if match)
        return Layout("delimited", f"RecBole {name.rpartition('.')[2]}", separator, names, True)
    shown = "tab" if separator == "\t" else f"'{separator}'"
    return Layout(
        "delimited", f"text with a header, {shown} between fields", separator, header, True
    )


def _like_sequences(name: str, line: str) -> bool:
    tokens = line.split()
    return (
        name.endswith(".txt")
        and len(tokens) >= 2
        and not any(separator in line for separator in (*DELIMITERS, "::", '"'))
    )


def _require(path: Path, fits: bool, what: str, wanted: str) -> None:
    if not fits:
        raise DataError(
            f"{path}: is {what}, ingest_interactions.format says '{wanted}'; "
            "set it to what the file is, or to 'auto'"
        )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:40]) or "nothing"
