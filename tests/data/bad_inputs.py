"""Inputs that break other people's pipelines, and what must become of each.

A case is a file's name and bytes, and either what the quarantine must say (reasons with counts, and
how many rows are kept) or words of the refusal.
"""

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

HEADER = "user,item,timestamp\n"
SOUND = "u1,i1,1600000000\nu2,i2,1600000001\nu1,i2,1600000002\n"
LOG = HEADER + SOUND


@dataclass(frozen=True)
class Case:
    """One bad input."""

    name: str
    content: bytes
    kept: int = -1
    reasons: dict[str, int] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    file: str = "log.csv"


def quarantined(name: str, rows: str | bytes, kept: int = 3, **reasons: int) -> Case:
    """A CSV whose bad rows follow three sound ones."""
    tail = rows.encode() if isinstance(rows, str) else rows
    named = {reason.replace("_", " "): count for reason, count in reasons.items()}
    return Case(name, LOG.encode() + tail, kept, named)


def refused(name: str, content: bytes, *words: str, file: str = "log.csv") -> Case:
    """A file that must be refused with these words."""
    return Case(name, content, refused=words, file=file)


def kept(name: str, content: bytes, rows: int, file: str = "log.csv", **reasons: int) -> Case:
    """A file of which so many rows must be kept."""
    named = {reason.replace("_", " "): count for reason, count in reasons.items()}
    return Case(name, content, rows, named, file=file)


def cases() -> list[Case]:
    """All of them."""
    return [*_rows(), *_text(), *_packed(), *_binary(), *_parquet(), *_json(), *_sequences()]


def _rows() -> list[Case]:
    long = "x" * 300
    return [
        quarantined("missing user", ",i1,5\n", missing_user_id=1),
        quarantined("missing item", "u1,,5\n", missing_item_id=1),
        quarantined("blank item", "u1,  \t,5\n", missing_item_id=1),
        quarantined("missing time", "u1,i1,\n", missing_time=1),
        quarantined("short row", "u1\nu1,i1\n", missing_item_id=1, missing_time=1),
        quarantined("empty lines", "\n\n", empty_line=2),
        quarantined("only separators", ",,\n", empty_line=1),
        quarantined("surplus field", "u1,i1,5,9\n", more_fields_than_the_header=1),
        quarantined("words for a time", "u1,i1,soon\n", unparsable_time=1),
        quarantined("not a number", "u1,i1,NaN\nu1,i1,inf\nu1,i1,-inf\n", unparsable_time=3),
        quarantined("hexadecimal time", "u1,i1,0x5F5E100\n", unparsable_time=1),
        quarantined("two times", "u1,i1,1600000000 1600000001\n", unparsable_time=1),
        quarantined("negative time", "u1,i1,-1\n", time_before_the_earliest=1),
        quarantined("year 50000", "u1,i1,1515890000000\n", time_after_the_latest=1),
        quarantined("a time beyond 64 bits", f"u1,i1,{'9' * 40}\n", time_after_the_latest=1),
        quarantined("a time of 300 digits", f"u1,i1,{'9' * 300}\n", time_after_the_latest=1),
        quarantined("a time of 400 digits", f"u1,i1,{'9' * 400}\n", unparsable_time=1),
        quarantined("seconds among milliseconds", "u1,i1,1600000000000\n", time_after_the_latest=1),
        quarantined("over-long user", f"{long},i1,5\n", **{"over-long_user_id": 1}),
        quarantined("over-long item", f"u1,{long},5\n", **{"over-long_item_id": 1}),
        quarantined("a field of 1 MB", f"u1,{'y' * 1_000_000},5\n", **{"over-long_item_id": 1}),
        quarantined("a NUL in an id", b"u\x001,i1,5\n", user_id_has_control_characters=1),
        quarantined("an escape sequence", b"u1,\x1b[2Ji,5\n", item_id_has_control_characters=1),
        Case("half a letter", LOG.encode() + b"u\xc3,i1,5\n", 3, {"user id is not UTF-8": 1}),
        Case("latin-1 in an id", LOG.encode() + b"u1,caf\xe9,5\n", 3, {"item id is not UTF-8": 1}),
        Case("a surrogate", LOG.encode() + b"u1,\xed\xa0\x80,5\n", 3, {"item id is not UTF-8": 1}),
        quarantined("said twice", "u1,i1,1600000000\n" * 2, duplicate_row=2),
        kept("leading zeros", (HEADER + "007,01,5\n7,1,6\n07,001,7\n").encode(), 3),
        kept("ids like numbers", (HEADER + "1e5,0x10,5\n100000,16,6\n-0,+1,7\n").encode(), 3),
        kept("letters of all scripts", (HEADER + "ü,日本,5\n🙂,א,6\n").encode(), 2),
        kept("composed and decomposed", (HEADER + "é,i,5\ne\u0301,i,6\n").encode(), 2),
        kept("right-to-left override", (HEADER + "\u202eabc,i,5\nabc,i,6\n").encode(), 2),
        kept("commands for a spreadsheet", (HEADER + "=1+1,@SUM(A1),5\n-2,i,6\n").encode(), 2),
        kept("spaces around", (HEADER + " u1 ,\ti1, 5 \nu1,i2,6\n").encode(), 2),
        kept("fractions of seconds", (HEADER + "u1,i1,5.5\nu1,i2,5.25\n").encode(), 2),
    ]


def _text() -> list[Case]:
    return [
        refused("empty", b"", "is empty"),
        refused("blank", b"\n\n  \n", "is empty"),
        refused("header only", HEADER.encode(), "a header and no rows"),
        refused("no header", SOUND.encode(), "no column for user_id", "columns.user"),
        refused("a header twice", b"user,item,item,timestamp\na,b,c,1\n", "different names"),
        refused("other columns", b"name,price\nx,1\n", "found: name, price"),
        refused("UTF-16", LOG.encode("utf-16"), "UTF-16", "UTF-8"),
        refused("lines of an old Macintosh", LOG.replace("\n", "\r").encode(), "CR alone"),
        refused(
            "one line of 65 MB", b"user,item,timestamp" + b"x" * 68_000_000, "a header of more"
        ),
        kept("byte order mark", b"\xef\xbb\xbf" + LOG.encode(), 3),
        kept("CRLF", LOG.replace("\n", "\r\n").encode(), 3),
        kept("CRLF and LF", (HEADER + SOUND.replace("\n", "\r\n", 1)).encode(), 3),
        kept("no line end", LOG.rstrip("\n").encode(), 3),
        kept("quoted everything", b'"user","item","timestamp"\n"u1","i1","5"\n"u2","i2","6"\n', 2),
        kept(
            "quotes, commas and line ends in titles",
            b'user,item,title,timestamp\nu1,i1,"The ""Best"", ever\nvol. 2",5\nu2,i2,"a,b",6\n',
            2,
        ),
        kept("a quote inside an id", (HEADER + 'u1,5" nail,5\nu2,i2,6\n').encode(), 2),
        kept("a quote that never ends", (HEADER + 'u1,"i1,5\nu2,i2,6\nu3,i3,7\n').encode(), 3),
        kept("two quotes lines apart", (HEADER + 'u1,"i1,5\nu2,i2,6\nu3,i3",7\n').encode(), 3),
        kept("semicolons", LOG.replace(",", ";").encode(), 3),
        kept("thousands of columns", _wide(), 1),
        refused("a header of formulas", b"=cmd|' /C calc'!A0,b,c\n1,2,3\n", "no column"),
    ]


def _wide() -> bytes:
    names = ",".join(f"c{number}" for number in range(3000))
    return f"user,item,timestamp,{names}\nu1,i1,5,{',' * 2999}\n".encode()


def _packed() -> list[Case]:
    text = (HEADER + SOUND * 50_000).encode()
    packed = gzip.compress(text)
    zstd = pa.compress(text, codec="zstd", asbytes=True)
    zeros = gzip.compress(b"\0" * 200_000_000, 1)
    return [
        refused("half a gzip", packed[: len(packed) // 2], "not a whole gzip", file="log.csv.gz"),
        refused("half a zstd", zstd[: len(zstd) // 2], "not a whole zstd", file="log.csv.zst"),
        refused("a gzip with a wrong checksum", _flipped(packed, -6), "gzip", file="log.csv.gz"),
        refused("a gzip of nothing", gzip.compress(b""), "is empty", file="log.csv.gz"),
        refused("a gzip header alone", packed[:10], "gzip", file="log.csv.gz"),
        refused("a bomb of zeros", zeros, "binary", file="log.csv.gz"),
        refused(
            "a bomb in one line",
            gzip.compress(HEADER.encode() + b"x" * 200_000_000, 1),
            "max_line_bytes",
            file="log.csv.gz",
        ),
        refused("gzip twice", gzip.compress(packed), "no column", file="log.csv.gz"),
        kept(
            "two gzips in one",
            gzip.compress(LOG.encode()) + gzip.compress(b"u9,i9,1600000009\n"),
            4,
            file="log.csv.gz",
        ),
        kept("a gzip that is not called so", gzip.compress(LOG.encode()), 3),
        kept("text that is called a gzip", LOG.encode(), 3, file="log.csv.gz"),
        refused("bzip2", bz2.compress(LOG.encode()), "bzip2", file="log.csv.bz2"),
        refused("xz", lzma.compress(LOG.encode()), "xz", file="log.csv.xz"),
    ]


def _flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0xFF
    return bytes(changed)


def _binary() -> list[Case]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("log.csv", LOG)
    return [
        refused("a zip", archive.getvalue(), "zip archive"),
        refused("a pickle", b"\x80\x04\x95\x00cos\nsystem\n", "pickle"),
        refused("a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "PNG"),
        refused("a program", b"\x7fELF" + b"\0" * 100, "program"),
        refused("a NumPy array", b"\x93NUMPY\x01\0" + b"\0" * 100, "NumPy"),
        refused("an SQLite file", b"SQLite format 3\0" + b"\0" * 100, "SQLite"),
        refused("zeros", b"\0" * 1000, "binary"),
    ]


def _parquet() -> list[Case]:
    frame = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "timestamp": [5, 6]})
    good = _written(frame)
    nested = _written(frame.with_columns(item=pl.Series([["x"], ["y"]])))
    floats = _written(frame.with_columns(user=pl.Series([1.0, 2.0])))
    raw = _written(frame.with_columns(item=pl.Series([b"\xff", b"y"])))
    nulls = _written(frame.with_columns(timestamp=pl.Series([None, 6])))
    file = "log.parquet"
    return [
        refused("Parquet without its end", good[:-20], "Parquet", file=file),
        refused("Parquet without its start", b"XXXX" + good[4:], "binary", file=file),
        refused("a Parquet magic alone", b"PAR1", "Parquet", file=file),
        refused(
            "a footer longer than the file", _footer_length(good, 2**31 - 1), "Parquet", file=file
        ),
        refused("a footer of length zero", _footer_length(good, 0), "Parquet", file=file),
        refused("a footer of noise", _noise(good), "Parquet", file=file),
        refused("a footer that promises petabytes", _petabytes(), "max_growth", file=file),
        refused("a footer that names no text", _misnamed(good), "UTF-8", file=file),
        refused("a footer that leads out of the file", _misled(good), "lies from byte", file=file),
        refused("lists for ids", nested, "has type", "item", file=file),
        refused("fractions for ids", floats, "has type", "user", file=file),
        refused("bytes for ids", raw, "has type", file=file),
        refused("Parquet without rows", _written(frame.clear()), "no rows", file=file),
        kept("nulls for times", nulls, 1, file, missing_time=1),
        kept("Parquet called CSV", good, 2, "log.csv"),
    ]


def _written(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def _footer_length(content: bytes, length: int) -> bytes:
    return content[:-8] + struct.pack("<I", length) + b"PAR1"


def _noise(content: bytes) -> bytes:
    (length,) = struct.unpack("<I", content[-8:-4])
    noise = bytes((7 * place + 13) % 256 for place in range(length))
    return content[: -8 - length] + noise + content[-8:]


def _misnamed(content: bytes) -> bytes:
    # The last time that the name stands there is where the footer says whose pages are described.
    before, name, after = content.rpartition(b"\x04item")
    assert name
    return before + b"\x04it\x80m" + after


def _misled(content: bytes) -> bytes:
    # Behind the name of the column: encodings, sizes, then field 9 (data_page_offset, i64), "&" with
    # a varint of two bytes, here replaced by the odd one that stands for -65.
    before, name, after = content.rpartition(b"\x04item")
    offset = after.index(b"&")
    assert name
    return before + name + after[: offset + 1] + b"\x81\x01" + after[offset + 3 :]


def _petabytes() -> bytes:
    # No writer makes such a footer, so the number of rows is replaced where it stands in one.
    table = pa.table({"user": ["a"], "item": ["x"], "timestamp": [5]})
    out = io.BytesIO()
    pq.write_table(table, out, compression="none", use_dictionary=False, store_schema=False)
    content = out.getvalue()
    (length,) = struct.unpack("<I", content[-8:-4])
    body, footer = content[: -8 - length], content[-8 - length : -8]
    huge = _varint(2 * 10**15)
    # Field 3 (num_rows, i64) follows the schema list: header byte 0x16, value zigzag(1) = 2.
    place = footer.index(b"\x16\x02\x19")
    footer = footer[: place + 1] + huge + footer[place + 2 :]
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _json() -> list[Case]:
    line = json.dumps({"user": "u1", "item": "i1", "timestamp": 5})
    other = json.dumps({"user": "u2", "item": "i2", "timestamp": 6})
    deep = (
        '{"user": "u1", "item": "i1", "timestamp": 5, "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    )
    array = json.dumps([{"user": "u1", "item": "i1", "timestamp": 5}])

    def lines(*rows: str) -> bytes:
        return "\n".join(rows).encode() + b"\n"

    file = "log.jsonl"
    return [
        refused("a JSON array", array.encode(), "JSON array", file=file),
        kept("a line that is no JSON", lines(line, "{", other), 2, file, not_a_JSON_object=1),
        kept("a line that is a list", lines(line, "[]", other), 2, file, not_a_JSON_object=1),
        kept("JSON half-way", lines(line, other, line[:20]), 2, file, not_a_JSON_object=1),
        kept("a deep line", lines(line, deep, other), 2, file, not_a_JSON_object=1),
        kept(
            "a list for an id",
            lines(line, line.replace('"i1"', '["i1"]'), other),
            2,
            file,
            a_field_is_no_text_or_number=1,
        ),
        kept(
            "a null id",
            lines(line, line.replace('"u1"', "null"), other),
            2,
            file,
            missing_user_id=1,
        ),
        kept(
            "keys in another order, more keys",
            lines(line, '{"timestamp": 6, "extra": {}, "item": "i2", "user": "u2"}'),
            2,
            file,
        ),
        kept(
            "a key twice",
            lines(line, '{"user": "a", "user": "b", "item": "x", "timestamp": 7}'),
            2,
            file,
        ),
        kept("an empty line between", lines(line, "", other), 2, file, empty_line=1),
        refused("other keys", lines('{"name": "x", "price": 1}'), "found: name, price", file=file),
    ]


def _sequences() -> list[Case]:
    file = "log.txt"
    return [
        kept("a user twice", b"u1 a b\nu2 a\nu1 c\n", 3, file, second_line_of_a_user=1),
        kept("a user alone", b"u1 a b\nu2\n", 2, file, a_user_without_items=1),
        kept("an empty line among histories", b"u1 a b\n\nu2 c\n", 3, file, empty_line=1),
    ]


def write(case: Case, folder: Path) -> Path:
    """Write a case's file."""
    path = folder / case.file
    path.write_bytes(case.content)
    return path
