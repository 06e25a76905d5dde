"""What the pages of a Parquet file become, read off the headers that a reader will believe.

A footer says what its pages hold, and nobody holds it to that: a file of 16 KB whose footer says 1 KB
can unpack to gigabytes. Page headers cannot lie so, since what they say is what is unpacked into. They
are written in Thrift's compact protocol, of which this reads what it needs
(https://github.com/apache/parquet-format, PageHeader in parquet.thrift).
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from slmrec.data.plain import FREE_BYTES, too_much
from slmrec.errors import DataError

LARGEST_PAGE = 256 * 1024 * 1024
"""Bytes of a page once unpacked; writers make them of one megabyte unless they are told otherwise."""
_HEADER_BYTES = 64 * 1024
_UNPACKED, _PACKED = 2, 3
_BOOLEANS, _INTEGERS, _LISTS = (1, 2), (4, 5, 6), (9, 10)
_BYTE, _DOUBLE, _BINARY, _STRUCT = 3, 7, 8, 12
"""Kinds of values in the compact protocol."""
_DEEPEST = 16


def check_pages(path: Path, columns: Collection[str], growth: int) -> None:
    """Check what the pages of some columns become.

    Raises `DataError` where one is larger than any writer makes, all become more than `growth` times
    the file beyond what any may, the footer leads out of the file, or a header cannot be read.
    """
    metadata = pq.read_metadata(path, memory_map=False)
    size = path.stat().st_size
    total = 0
    with path.open("rb") as stream:
        for group in range(metadata.num_row_groups):
            chunks = metadata.row_group(group)
            for number in range(chunks.num_columns):
                chunk = chunks.column(number)
                name = _name(path, chunk)
                if not _belongs(name, columns):
                    continue
                for unpacked in _pages(path, stream, chunk, size):
                    total += unpacked
                    if unpacked > LARGEST_PAGE:
                        raise DataError(
                            f"{path}: a page of column '{name[:60]}' unpacks to "
                            f"{unpacked:,} bytes, expected at most {LARGEST_PAGE:,}; write it again "
                            "with smaller pages"
                        )
                    if total > FREE_BYTES and total > growth * size:
                        raise too_much(path, size, total, growth)


def _name(path: Path, chunk: Any) -> str:
    try:
        return str(chunk.path_in_schema)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: its footer names a column in bytes that are not UTF-8 ({error}); it is damaged, "
            "write it again"
        ) from None


def _belongs(chunk: str, columns: Collection[str]) -> bool:
    return any(chunk == name or chunk.startswith(f"{name}.") for name in columns)


def _pages(path: Path, stream: BinaryIO, chunk: Any, size: int) -> Iterator[int]:
    """Unpacked bytes of each page of a column chunk."""
    # Writers put 0 for what there is none of, such as pages of a group without rows.
    offsets = [chunk.data_page_offset]
    if chunk.has_dictionary_page:
        offsets.append(chunk.dictionary_page_offset)
    first = min((offset for offset in offsets if offset), default=0)
    end = first + chunk.total_compressed_size
    if not 0 <= first <= end <= size:
        raise DataError(
            f"{path}: its footer says that a column lies from byte {first:,} to {end:,}, the file has "
            f"{size:,} bytes; it is damaged, write it again"
        )
    while first < end:
        stream.seek(first)
        try:
            sizes, length = _page_header(stream.read(_HEADER_BYTES))
        except (IndexError, ValueError):
            raise DataError(
                f"{path}: the page at byte {first:,} has no header that can be read; it is damaged, "
                "write it again"
            ) from None
        yield sizes[_UNPACKED]
        first += length + sizes[_PACKED]


def _page_header(content: bytes) -> tuple[dict[int, int], int]:
    """The two sizes by their field numbers, and the header's length. Raises `ValueError`."""
    sizes: dict[int, int] = {}
    at = field = 0
    while kind := content[at] & 15:
        skipped = content[at] >> 4
        at += 1
        if skipped:
            field += skipped
        else:
            field, at = _integer(content, at)
        if field in (_UNPACKED, _PACKED) and kind in _INTEGERS:
            sizes[field], at = _integer(content, at)
        else:
            at = _after(content, at, kind, 0)
    if sizes.keys() != {_UNPACKED, _PACKED} or min(sizes.values()) < 0:
        raise ValueError("no sizes")
    return sizes, at + 1


def _after(content: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value of that kind ends."""
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if kind in _BOOLEANS:
        return at
    if kind in _INTEGERS:
        return _integer(content, at)[1]
    if kind == _BINARY:
        length, at = _natural(content, at)
        return at + length
    if kind in _LISTS:
        count, inner = content[at] >> 4, content[at] & 15
        at += 1
        if count == 15:
            count, at = _natural(content, at)
        if count > len(content):  # each element takes a byte at least
            raise ValueError("a longer list than its page header")
        if inner in _BOOLEANS:
            return at + count
        for _ in range(count):
            at = _after(content, at, inner, depth + 1)
        return at
    if kind == _STRUCT:
        while kind := content[at] & 15:
            skipped = content[at] >> 4
            at += 1
            if not skipped:
                at = _integer(content, at)[1]
            at = _after(content, at, kind, depth + 1)
        return at + 1
    if kind in (_BYTE, _DOUBLE):
        return at + (1 if kind == _BYTE else 8)
    raise ValueError(f"no kind {kind} in a page header")


def _natural(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while content[at] & 128:
        number |= (content[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise ValueError("too long a number")
    return number | content[at] << shift, at + 1


def _integer(content: bytes, at: int) -> tuple[int, int]:
    number, at = _natural(content, at)
    return (number >> 1) ^ -(number & 1), at
