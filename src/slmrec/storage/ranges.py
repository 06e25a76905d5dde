"""Large objects from Cloud Storage: several ranges at once, and only those that are still missing."""

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from slmrec.storage.checksum import crc32c
from slmrec.storage.patience import CutShortError, Patience, persist

RANGE_BYTES = 16 * 2**20
"""Of an object that is asked for at once."""
SIDE_BY_SIDE = 4
"""Ranges of an object at once."""
_HELD = threading.BoundedSemaphore(8)
"""Ranges of all objects that are in memory at once."""
Report = Callable[[int, int], None]
"""Receives bytes that are there, and bytes of the object."""


def download(blob: Any, target: Path, patience: Patience, report: Report | None = None) -> None:
    """Write an object's known generation to a file, checked against its checksum, or nothing.

    What is large arrives in ranges, beside the target until all are there; a download of the same
    generation into the same folder that was stopped is taken up, also by another process. A target
    that has the object's checksum already is left. Raises
    `OSError` when other bytes arrive than the checksum is of, and what `persist` raises.
    """
    if target.exists() and crc32c(target) == blob.crc32c:
        if report is not None:
            report(int(blob.size), int(blob.size))
        return
    if int(blob.size) > RANGE_BYTES and not blob.content_encoding:
        whose = hashlib.sha256(str(target.absolute()).encode()).hexdigest()
        with FileLock(Path(tempfile.gettempdir()) / f"slmrec-{whose[:32]}.lock"):
            _in_ranges(blob, target, patience, report)
        return
    partial = target.with_name(f".{target.name}.partial")
    # Every answer overwrites what the blob says of itself.
    size, generation = int(blob.size), blob.generation

    def whole() -> None:
        blob.download_to_filename(
            str(partial),
            if_generation_match=generation,
            timeout=patience.silence,
            checksum="crc32c",
            retry=None,
        )

    try:
        persist(whole, patience)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    if report is not None:
        report(size, size)


@dataclass
class _Partial:
    """What has arrived of one generation of an object, and where those ranges begin."""

    content: Path
    record: Path
    starts: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, target: Path, generation: int, size: int) -> "_Partial":
        """What there is; what is left of other generations goes."""
        kept = f".{target.name}.{generation}"
        ours = re.compile(re.escape(f".{target.name}.") + r"\d+\.(partial|ranges)")
        for place in target.parent.iterdir():
            if ours.fullmatch(place.name) and place.stem != kept:
                place.unlink(missing_ok=True)
        found = cls(target.with_name(f"{kept}.partial"), target.with_name(f"{kept}.ranges"))
        form = f"{size} {RANGE_BYTES}"
        lines = (
            found.record.read_text(encoding="utf-8").splitlines() if found.record.exists() else []
        )
        if found.content.exists() and lines[:1] == [form]:
            found.starts = {int(line) for line in lines[1:] if line.isdecimal()}
        else:
            found.record.write_text(f"{form}\n", encoding="utf-8")
            found.content.write_bytes(b"")
        os.truncate(found.content, size)
        return found

    def note(self, start: int) -> None:
        """A range has been written."""
        with self.record.open("a", encoding="utf-8") as record:
            record.write(f"{start}\n")


def _in_ranges(blob: Any, target: Path, patience: Patience, report: Report | None) -> None:
    # Every answer overwrites what the blob says of itself.
    size, generation, expected = int(blob.size), int(blob.generation), blob.crc32c
    partial = _Partial.of(target, generation, size)
    missing = [start for start in range(0, size, RANGE_BYTES) if start not in partial.starts]
    left = sum(min(start + RANGE_BYTES, size) - start for start in missing)
    if report is not None:
        report(size - left, size)

    def fetch(start: int) -> int:
        end = min(start + RANGE_BYTES, size)
        with _HELD, partial.content.open("r+b") as file:
            file.seek(start)
            file.write(_range(blob, generation, start, end, patience))
        return end - start

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        waiting = [(start, pool.submit(fetch, start)) for start in missing]
        try:
            for start, future in waiting:
                left -= future.result()
                partial.note(start)
                if report is not None:
                    report(size - left, size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if (found := crc32c(partial.content)) != expected:
        partial.content.unlink()
        partial.record.unlink()
        raise OSError(f"crc32c is {found}, expected {expected}")
    partial.content.replace(target)
    partial.record.unlink()


def _range(blob: Any, generation: int, start: int, end: int, patience: Patience) -> bytes:
    def arrive() -> bytes:
        content: bytes = blob.download_as_bytes(
            start=start,
            end=end - 1,
            if_generation_match=generation,
            checksum=None,
            timeout=patience.silence,
            retry=None,
        )
        if len(content) != end - start:
            raise CutShortError(f"bytes {start} to {end} arrived as {len(content)} bytes")
        return content

    return persist(arrive, patience)
