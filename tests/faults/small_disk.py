"""A disk of a few megabytes, and how full it is."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted tmpfs with a file that takes what room should not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def used(self) -> int:
        """Bytes, the filler aside."""
        filler = self._filler.stat().st_blocks * 512 if self._filler.exists() else 0
        return shutil.disk_usage(self.path).used - filler

    def leave(self, free: int) -> None:
        """Fill the disk but for so many bytes, rounded down to pages."""
        self._filler.unlink(missing_ok=True)
        room = shutil.disk_usage(self.path).free - free
        with self._filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, room)

    def empty(self) -> None:
        """Make all the room there is."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount one; skips the test, visibly, where that is not allowed."""
    path.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
