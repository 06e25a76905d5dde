"""Small files that would become large: packed text, Parquet, arrays, weights."""

import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

HEADER = b"user,item,timestamp\n"
_ROWS = b"u1,i1,100\n" * 1_000_000
_OBJECT = b'{"user": "u1", "item": "i1", "timestamp": 1}\n'
_LITERALS = b"{'item': 'a'}\n{'item': " + b"-" * 300_000 + b"1}\n{'item': 9**9**9**9}\n"
_GROWTH, _LINE = "max_growth", "max_line_bytes"


@dataclass(frozen=True)
class Bomb:
    """A file that must be refused with a word of the refusal, or taken in little time and memory."""

    name: str
    file: str
    content: Callable[[], bytes]
    """Made when it is wanted: many at once would take the memory that is measured."""
    refused: str = ""
    items: bool = False
    """Whether it is an item file; else it is a log."""


def packed(kind: str, block: bytes, times: int, start: bytes = b"") -> bytes:
    """Bytes packed member by member, so that gigabytes are made of one packed block."""
    if kind == "gzip":
        return (gzip.compress(start) if start else b"") + gzip.compress(block, 6) * times
    codec = pa.Codec("zstd", 3)
    head = codec.compress(start, asbytes=True) if start else b""
    return head + codec.compress(block, asbytes=True) * times


def text_bombs() -> list[Bomb]:
    """Packed or plain text."""
    gz, zst = partial(packed, "gzip"), partial(packed, "zstd")
    return [
        Bomb("10 GB of rows, gzip", "log.csv.gz", lambda: gz(_ROWS, 1000, HEADER), _GROWTH),
        Bomb("10 GB of rows, zstd", "log.csv.zst", lambda: zst(_ROWS, 1000, HEADER), _GROWTH),
        Bomb("behind a start", "log.csv.gz", lambda: gz(_ROWS, 1000, HEADER + _honest()), _GROWTH),
        Bomb("a line of 1 GB", "log.jsonl.gz", lambda: gz(b"x" * 10**7, 100, _OBJECT), _LINE),
        Bomb("a user of 1 GB", "log.txt.gz", lambda: zst(b"7 " * 10**6, 500, b"u1 1\nu2 "), _LINE),
        Bomb("zeros", "log.csv.gz", lambda: gz(b"\0" * 10**7, 1000), "binary"),
        Bomb("gzip in gzip", "log.csv.gz", lambda: gzip.compress(gz(_ROWS, 100)), _LINE),
        Bomb("a million columns", "log.csv", _columns, "a header of more"),
        Bomb("a row of 9 MB", "log.csv", lambda: HEADER + b"u1,i1,1" + b",x" * 4_500_000, _LINE),
        Bomb("300,000 keys", "log.jsonl", lambda: _OBJECT + _keys(), _LINE),
        Bomb("lists 2,000,000 deep", "log.jsonl", lambda: _OBJECT + _deep(2_000_000), _LINE),
        Bomb("lists 400,000 deep", "log.jsonl", lambda: _OBJECT + _deep(400_000)),
        Bomb("items, 1 GB", "items.csv.gz", lambda: gz(b"a,b\n" * 10**6, 250), _GROWTH, True),
        Bomb("an item of 1 GB", "items.jsonl.gz", lambda: gz(b"x" * 10**7, 99, b"{}"), _LINE, True),
        Bomb("items that are no literals", "items.jsonl", lambda: _LITERALS, items=True),
    ]


def parquet_bombs() -> list[Bomb]:
    """Parquet whose footer promises too much, or says less than its pages hold."""
    page = "page of column"
    return [
        Bomb("100 million rows", "log.parquet", _constant, _GROWTH),
        Bomb(
            "texts of 1 GB", "log.parquet", lambda: written(_texts(), use_dictionary=False), _GROWTH
        ),
        Bomb("one text of 1 MB a thousand times", "log.parquet", lambda: written(_texts())),
        Bomb("a page that its footer denies", "log.parquet", lambda: lying(_large(), False), page),
        Bomb("a dictionary so denied", "log.parquet", lambda: lying(_large(), True), page),
        Bomb("pictures of 500 MB", "items.parquet", _pictures, _GROWTH, True),
    ]


def _columns() -> bytes:
    return HEADER.strip() + b"".join(b",c%d" % n for n in range(1_000_000)) + b"\nu,i,1\n"


def _keys() -> bytes:
    wide = {"user": "u1", "item": "i1", "timestamp": 1} | {f"k{n}": 1 for n in range(300_000)}
    return json.dumps(wide).encode()


def _deep(levels: int) -> bytes:
    return b'{"user": ' + b"[" * levels + b"]" * levels + b"}\n"


def _constant() -> bytes:
    schema = pa.schema([(name, pa.dictionary(pa.int32(), kind)) for name, kind in _COLUMNS])
    columns = [
        pa.DictionaryArray.from_arrays(np.zeros(10**7, np.int32), pa.array([value], kind))
        for (_, kind), value in zip(_COLUMNS, ("u", "i", 1), strict=True)
    ]
    out = io.BytesIO()
    with pq.ParquetWriter(out, schema) as writer:
        for _ in range(10):
            writer.write_table(pa.table(columns, schema=schema), row_group_size=10**7)
    return out.getvalue()


def _texts() -> pa.Array:
    return pa.array(["u" * 1_000_000]).take(pa.array([0] * 1000))


def _large() -> list[str]:
    return [f"{n}" + "u" * 100_000_000 for n in range(3)]


def _pictures() -> bytes:
    pictures = pa.array([b"\0" * 1_000_000]).take(pa.array([0] * 500))
    table = pa.table({"item": ["a"] * 500, "title": ["t"] * 500, "picture": pictures})
    return _bytes(table, use_dictionary=False)


_COLUMNS = (("user", pa.string()), ("item", pa.string()), ("timestamp", pa.int64()))


def written(users: pa.Array, **options: bool) -> bytes:
    """A log of such users as Parquet."""
    count = len(users)
    return _bytes(
        pa.table({"user": users, "item": ["i"] * count, "timestamp": [1] * count}), **options
    )


def lying(users: list[str], use_dictionary: bool) -> bytes:
    """A log whose footer says that the users take a thousand bytes unpacked."""
    array = pa.array(users, pa.large_string())
    options = {"use_dictionary": use_dictionary, "write_statistics": False, "store_schema": False}
    content = written(array, **options)
    (length,) = struct.unpack("<I", content[-8:-4])
    start = len(content) - 8 - length
    group = pq.read_metadata(io.BytesIO(content)).row_group(0)
    footer = content[start:-8]
    for size in (group.total_byte_size, group.column(0).total_uncompressed_size):
        honest = _varint(2 * size)
        assert footer.count(honest) == 1
        footer = footer.replace(honest, _varint(2000, len(honest)))
    return content[:start] + footer + content[-8:]


def array_bombs() -> dict[str, bytes]:
    """Arrays whose headers promise what the file has not, or objects."""
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return {
        "a petabyte": _npy({"descr": "<i8", "fortran_order": False, "shape": (2**47,)}),
        "overflow": _npy({"descr": "<i8", "fortran_order": False, "shape": (2**40, 2**40)}),
        "less than nothing": _npy({"descr": "<i8", "fortran_order": False, "shape": (-1, -3)}),
        "objects": objects.getvalue(),
        "objects in a record": _npy(
            {"descr": [("a", "|O")], "fortran_order": False, "shape": (1,)}, b"\0" * 8
        ),
        "a header of 4 GB": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{" * 1000,
        "no header": b"\x93NUMPY\x01\x00\x10\x00" + b"__import__('os')",
        "empty": b"",
    }


def weight_bombs() -> dict[str, bytes]:
    """Weights whose header is too long, or promises what the file has not."""
    promised = {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    header = json.dumps(promised).encode()
    return {
        "a header of 101 MB": struct.pack("<Q", 101_000_000) + b" " * 101_000_000,
        "a header of exabytes": struct.pack("<Q", 2**62) + b"{}",
        "terabytes": struct.pack("<Q", len(header)) + header,
        "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    }


def _honest() -> bytes:
    # Random ids, which pack a few times as real ones do: 20 MB.
    numbers = np.random.default_rng(1).integers(0, 10**6, (1_000_000, 2))
    return "".join(f"u{user},i{item},{user}\n" for user, item in numbers.tolist()).encode()


def _bytes(table: pa.Table, **options: bool) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", **options)
    return out.getvalue()


def _varint(number: int, length: int = 0) -> bytes:
    """Thrift's variable-length number, padded to a length where one is given."""
    parts = [number & 127]
    while number := number >> 7:
        parts.append(number & 127)
    parts += [0] * (length - len(parts))
    return bytes([part | 128 for part in parts[:-1]] + parts[-1:])


def _npy(header: dict[str, object], content: bytes = b"\0" * 64) -> bytes:
    out = io.BytesIO()
    npy.write_array_header_1_0(out, header)
    return out.getvalue() + content
