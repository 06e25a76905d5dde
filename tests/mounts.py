"""A bucket mounted as a folder, as far as one can be had without one: what its file system refuses.

A folder stands for `/gcs`. Below it nothing is renamed (on a mount a rename copies, and a folder is not
renamed at all), linked, locked, mapped for writing, or written elsewhere than at its end.
"""

import builtins
import errno
import fcntl
import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slmrec import mounts


class _Sequential:
    """A file that is written from its beginning to its end."""

    def __init__(self, file: io.IOBase, place: str, closed: list[str]) -> None:
        self._file = file
        self._place = place
        self._closed = closed

    def seek(self, *_: int) -> int:
        raise OSError(errno.ENOTSUP, "writes are sequential", self._place)

    def truncate(self, *_: int) -> int:
        raise OSError(errno.ENOTSUP, "writes are sequential", self._place)

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")

    def __enter__(self) -> "_Sequential":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._closed.append(self._place)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@contextmanager
def mounted_bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let a folder be a mounted bucket; gives the files written to it, in the order of their ends."""
    folder.mkdir(exist_ok=True)
    top = str(folder)
    closed: list[str] = []
    real_open, real_mmap = io.open, mmap.mmap

    def below(place: object) -> bool:
        if isinstance(place, int):
            place = os.readlink(f"/proc/self/fd/{place}")
        return os.path.abspath(os.fspath(place)).startswith(f"{top}/")  # type: ignore[call-overload]

    def refusing(real: object, code: int) -> object:
        def call(*places: object, **more: object) -> object:
            if any(below(place) for place in places[:2] if isinstance(place, str | Path)):
                raise OSError(code, os.strerror(code), str(places[0]))
            return real(*places, **more)  # type: ignore[operator]

        return call

    def open_(file: object, mode: str = "r", *more: object, **named: object) -> object:
        writes = isinstance(file, str | Path) and below(file) and set(mode) & set("wax+")
        if writes and "+" in mode:
            raise OSError(errno.ENOTSUP, "no writing where there is something", str(file))
        opened = real_open(file, mode, *more, **named)  # type: ignore[call-overload]
        return _Sequential(opened, os.fspath(file), closed) if writes else opened

    def map_(number: int, *more: object, **named: object) -> object:
        if below(number) and named.get("access", mmap.ACCESS_WRITE) != mmap.ACCESS_READ:
            raise OSError(errno.ENODEV, "no maps for writing", str(number))
        return real_mmap(number, *more, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(mounts, "MOUNTS", {folder: "gs://"})
        for name in ("rename", "replace", "link", "symlink"):
            patched.setattr(os, name, refusing(getattr(os, name), errno.EXDEV))
        patched.setattr(os, "fsync", lambda number: _refuse_folder(number, below))
        patched.setattr(fcntl, "flock", lambda *_: _refuse(errno.ENOTSUP))
        patched.setattr(builtins, "open", open_)
        patched.setattr(io, "open", open_)
        patched.setattr(mmap, "mmap", map_)
        yield closed


def _refuse(code: int) -> None:
    raise OSError(code, os.strerror(code))


def _refuse_folder(number: int, below: object) -> None:
    if below(number):  # type: ignore[operator]
        _refuse(errno.EINVAL)
