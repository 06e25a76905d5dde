"""Files as plain text: unpacked where they are packed, refused where they are no text."""

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from slmrec.errors import DataError

HEAD_BYTES = 65_536
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes; more without a line end is no table, and would not fit into memory."""
_BLOCK = 4 * 1024 * 1024
_MOST_GROWTH = 300
_BOMB_BYTES = 1024**3
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_NO_TEXT = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet); unpack it",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet; export it as CSV",
    b"Obj\x01": "an Avro file; export it as Parquet",
    b"ORC": "an ORC file; export it as Parquet",
    b"BZh": "packed with bzip2; pack it with gzip or zstd",
    b"\xfd7zXZ": "packed with xz; pack it with gzip or zstd",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"\x93NUMPY": "a NumPy array; export it as Parquet",
    b"\x80\x02": "a Python pickle, which is never opened; export it as Parquet",
    b"\x80\x03": "a Python pickle, which is never opened; export it as Parquet",
    b"\x80\x04": "a Python pickle, which is never opened; export it as Parquet",
    b"\x80\x05": "a Python pickle, which is never opened; export it as Parquet",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"ARROW1": "an Arrow file; write it as Parquet",
    b"\xff\xfe": "text in UTF-16; convert it to UTF-8",
    b"\xfe\xff": "text in UTF-16; convert it to UTF-8",
}


def head_of(path: Path) -> bytes:
    """Read the first bytes of a file, unpacked. Raises `DataError` for an empty or a packed ruin."""
    with path.open("rb") as raw:
        head = raw.read(HEAD_BYTES)
    kind = packing(head)
    if kind:
        try:
            with _unpacked(path, kind) as stream:
                head = stream.read(HEAD_BYTES)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise _ruined(path, kind, error) from None
    if not head.strip(b"\r\n \t"):
        raise DataError(f"{path}: the file is empty, expected interactions or items")
    return head


def refuse_no_text(path: Path, head: bytes) -> None:
    """Refuse a file whose first bytes (unpacked) are those of something that is no text."""
    for magic, what in _NO_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{path}: is {what}; expected text or Parquet")
    if head.count(b"\0") > len(head) // 8:
        raise DataError(f"{path}: is binary, not text; expected text in UTF-8 or Parquet")
    if b"\r" in head and b"\n" not in head:
        raise DataError(
            f"{path}: its lines end with CR alone, as on old Macintoshes; convert the line ends"
        )


def packing(head: bytes) -> str:
    """Name what a file is packed with, by its first bytes: `gzip`, `zstd` or nothing."""
    return next((name for magic, name in _PACKED.items() if head.startswith(magic)), "")


def unpacked(path: Path, scratch: Path) -> Path:
    """Give a path to the plain bytes of a text file; a packed one is unpacked into `scratch`.

    Raises `DataError` when the file ends early, is damaged, grows beyond reason, or has a line of
    more than 64 MB.
    """
    with path.open("rb") as raw:
        kind = packing(raw.read(4))
    if not kind:
        with path.open("rb") as raw:
            _refuse_long_line(path, raw.read(LONGEST_LINE + 1))
        return path
    scratch.mkdir(parents=True, exist_ok=True)
    target = scratch / path.name
    try:
        with _unpacked(path, kind) as stream, target.open("wb") as out:
            _copy(path, stream, out)
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _ruined(path, kind, error) from None
    return target


def _copy(path: Path, stream: BinaryIO, out: BinaryIO) -> None:
    packed = path.stat().st_size
    written = line = 0
    while block := stream.read(_BLOCK):
        at = block.rfind(b"\n")
        line = line + len(block) if at < 0 else len(block) - at - 1
        written += out.write(block)
        if line > LONGEST_LINE:
            raise _too_long(path)
        if written > _BOMB_BYTES and written > _MOST_GROWTH * packed:
            raise DataError(
                f"{path}: {packed:,} bytes unpack to more than {written:,}; that is no log. If it "
                "is one, unpack it yourself"
            )


def _refuse_long_line(path: Path, start: bytes) -> None:
    if len(start) > LONGEST_LINE and b"\n" not in start:
        raise _too_long(path)


def _too_long(path: Path) -> DataError:
    return DataError(
        f"{path}: a line of more than {LONGEST_LINE // 1024**2} MB; expected a row a line"
    )


def _unpacked(path: Path, kind: str) -> BinaryIO:
    if kind == "gzip":
        return gzip.open(path)  # type: ignore[return-value]
    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")


def _ruined(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(f"{path}: not a whole {kind} file ({error}); fetch it again")
