"""Large objects from Cloud Storage: several ranges at once, and only those that are still missing."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

RANGE_BYTES = 16 * 2**20
"""Of an object that is asked for at once."""
SIDE_BY_SIDE = 4
_ATTEMPTS = 3
"""For a range that arrives short; failures that the server tells are retried by the library."""
_CHECK_BYTES = 2**20
Report = Callable[[int, int], None]
"""Receives bytes that are there, and bytes of the object."""


def download(blob: Any, target: Path, timeout: float, report: Report | None = None) -> None:
    """Write an object's known generation to a file, checked against its checksum, or nothing.

    What is large arrives in ranges, beside the target until all are there; a download of the same
    generation that was stopped is taken up. Raises `OSError` when other bytes arrive than the
    checksum is of, and what the library raises after its own retries.
    """
    if int(blob.size) > RANGE_BYTES and not blob.content_encoding:
        _in_ranges(blob, target, timeout, report)
        return
    partial = target.with_name(f".{target.name}.partial")
    try:
        blob.download_to_filename(
            str(partial), if_generation_match=blob.generation, timeout=timeout, checksum="crc32c"
        )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    if report is not None:
        report(int(blob.size), int(blob.size))


def _in_ranges(blob: Any, target: Path, timeout: float, report: Report | None) -> None:
    size = int(blob.size)
    partial = target.with_name(f".{target.name}.{blob.generation}.partial")
    record = partial.with_suffix(".ranges")
    for older in target.parent.glob(f".{target.name}.*"):
        if older not in (partial, record) and older.suffix in (partial.suffix, record.suffix):
            older.unlink()  # of another generation
    with _opened(partial, record) as (file, there, note):
        os.truncate(file.fileno(), size)
        missing = [start for start in range(0, size, RANGE_BYTES) if start not in there]
        if report is not None:
            report(size - _bytes_of(missing, size), size)

        def fetch(start: int) -> int:
            end = min(start + RANGE_BYTES, size)
            os.pwrite(file.fileno(), _range(blob, start, end, timeout), start)
            return start

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            waiting = [pool.submit(fetch, start) for start in missing]
            try:
                for done, future in enumerate(waiting, start=1):
                    note(future.result())
                    if report is not None:
                        report(size - _bytes_of(missing[done:], size), size)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    found = _crc32c(partial)
    record.unlink()
    if found != blob.crc32c:
        partial.unlink()
        raise OSError(f"crc32c is {found}, expected {blob.crc32c}")
    partial.replace(target)


@contextmanager
def _opened(
    partial: Path, record: Path
) -> Iterator[tuple[BinaryIO, set[int], Callable[[int], None]]]:
    """The file that ranges are written to, where those begin that it holds, and how to note one."""
    known = (
        record.read_text(encoding="utf-8").split() if partial.exists() and record.exists() else []
    )
    there = {int(start) for start in known if start.isdecimal()}
    with partial.open("r+b" if there else "w+b") as file, record.open("a") as notes:

        def note(start: int) -> None:
            notes.write(f"{start}\n")
            notes.flush()

        yield file, there, note


def _range(blob: Any, start: int, end: int, timeout: float) -> bytes:
    for _ in range(_ATTEMPTS):
        content: bytes = blob.download_as_bytes(
            start=start,
            end=end - 1,
            if_generation_match=blob.generation,
            checksum=None,
            timeout=timeout,
        )
        if len(content) == end - start:
            return content
    raise OSError(f"bytes {start} to {end} arrived as {len(content)} bytes, {_ATTEMPTS} times")


def _bytes_of(starts: list[int], size: int) -> int:
    return sum(min(start + RANGE_BYTES, size) - start for start in starts)


def _crc32c(path: Path) -> str:
    import base64

    import google_crc32c

    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while block := file.read(_CHECK_BYTES):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()
