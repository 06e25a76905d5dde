"""Files as plain text: unpacked where they are packed, refused where they are no text."""

import gzip
import mmap
import zlib
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from slmrec.config import IngestInteractions
from slmrec.errors import DataError

HEAD_BYTES = 65_536
FREE_BYTES = 16 * 1024 * 1024
"""Bytes that any file may become: they fill neither disk nor memory."""
_BLOCK = 4 * 1024 * 1024
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
            with path.open("rb") as raw:
                head = _unpacked(raw, kind).read(HEAD_BYTES)
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


def unpacked(path: Path, scratch: Path, settings: IngestInteractions) -> Path:
    """Give a path to the plain bytes of a text file; a packed one is unpacked into `scratch`.

    Raises `DataError` when the file ends early, is damaged, grows beyond `settings.max_growth`, or
    has a line of more than `settings.max_line_bytes`.
    """
    with path.open("rb") as raw:
        kind = packing(raw.read(4))
    plain = path
    if kind:
        scratch.mkdir(parents=True, exist_ok=True)
        plain = scratch / path.name
        try:
            with path.open("rb") as raw, plain.open("wb") as out:
                _copy(path, raw, _unpacked(raw, kind), out, settings)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise _ruined(path, kind, error) from None
    _refuse_long_line(path, plain, settings.max_line_bytes)
    return plain


def too_much(path: Path, packed: int, unpacked: int, growth: int) -> DataError:
    """What to say of a file that is more than it looks."""
    return DataError(
        f"{path}: {packed:,} bytes become {unpacked:,} or more, expected at most {growth} times as "
        "many; if it is a log all the same, raise ingest_interactions.max_growth"
    )


def _copy(
    path: Path, raw: BinaryIO, stream: BinaryIO, out: BinaryIO, settings: IngestInteractions
) -> None:
    growth, longest = settings.max_growth, settings.max_line_bytes
    # Judged a stretch at a time, so that a bomb behind an honest start goes off no later.
    written = taken = line = 0
    while block := stream.read(_BLOCK):
        at = block.rfind(b"\n")
        line = line + len(block) if at < 0 else len(block) - at - 1
        if line > longest:
            raise _too_long(path, longest)
        written += out.write(block)
        if written >= FREE_BYTES:
            packed = raw.tell() - taken
            if written > growth * packed:
                raise too_much(path, packed, written, growth)
            taken, written = raw.tell(), 0


def _refuse_long_line(path: Path, plain: Path, longest: int) -> None:
    # A stretch of that length without a line end is looked for from its end, where one mostly is near.
    with plain.open("rb") as stream:
        size = plain.stat().st_size
        if size <= longest:
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
            start = 0
            while size - start > longest:
                end = view.rfind(b"\n", start, start + longest + 1)
                if end < 0:
                    raise _too_long(path, longest)
                start = end + 1


def _too_long(path: Path, longest: int) -> DataError:
    return DataError(
        f"{path}: a line of more than {longest:,} bytes; expected a row a line; if it is one, raise "
        "ingest_interactions.max_line_bytes"
    )


def _unpacked(raw: BinaryIO, kind: str) -> BinaryIO:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    return pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")


def _ruined(path: Path, kind: str, error: Exception) -> DataError:
    return DataError(f"{path}: not a whole {kind} file ({error}); fetch it again")
