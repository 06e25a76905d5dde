"""A folder in which another process finds the downloads of one that was stopped."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK = ".lock"


@contextmanager
def lasting(folder: Path | None, key: str) -> Iterator[Path | None]:
    """Yield a folder for downloads of what `key` names; it goes when the block succeeds.

    What was left of other keys goes at once. None where there is no folder, or another process is
    using it: then downloads do not outlive their process.
    """
    if folder is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield None
        return
    try:
        place = folder / key
        for other in folder.iterdir():
            if other not in (place, folder / _LOCK):
                shutil.rmtree(other, ignore_errors=True)
        place.mkdir(exist_ok=True)
        yield place
        shutil.rmtree(place, ignore_errors=True)
    finally:
        lock.release()
