"""Every error that slmrec raises on purpose.

    SlmrecError                 exit code 4: a step failed
    ├── ConfigError             exit code 2: a setting is unknown, malformed or contradictory
    ├── SourceMissingError      exit code 2: an input that was named does not exist
    ├── DataError               exit code 3: the input cannot be read as what it was said to be
    │   └── ValidationFailed    exit code 3: the data was read and failed its expectations
    ├── ArtifactError           exit code 4: an artifact is missing, incomplete or altered
    ├── RegistryConflict        exit code 4: somebody else moved the production pointer first
    └── GateRefusal             exit code 5: the run finished and its gates refused promotion

A message names the file or field, what was found, what was expected, and what to do next.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from slmrec.visible import visible

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_OF_DISKS = (*_FULL, *_CLOSED, errno.EIO)
_TOLD = re.compile(
    r"(?P<full>No space left on device|Disk quota exceeded|requested and \d+ written)"
    r"|Permission denied|Operation not permitted|Read-only file system"
)
"""How libraries that raise errors of their own tell of a disk."""


class SlmrecError(Exception):
    """Base of the tree; `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 4

    def __str__(self) -> str:
        """The message; names and titles in it may be anybody's, and it goes to terminals and logs."""
        return visible(super().__str__())


class ConfigError(SlmrecError):
    """A setting is unknown, malformed or contradicts another."""

    exit_code = 2


class SourceMissingError(SlmrecError):
    """An input that was named does not exist or cannot be reached."""

    exit_code = 2


class DataError(SlmrecError):
    """An input exists but cannot be read as what it was said to be."""

    exit_code = 3


class ValidationFailed(DataError):
    """The data was read and failed its expectations."""


class ArtifactError(SlmrecError):
    """An artifact is missing, incomplete or not what its manifest says."""


class RegistryConflict(SlmrecError):
    """A compare-and-swap found that somebody else had moved the pointer."""


class GateRefusal(SlmrecError):
    """The run finished and its gates refused promotion."""

    exit_code = 5


def first_line(error: BaseException | str) -> str:
    """What an error says, short enough to be part of another message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@contextlib.contextmanager
def naming(place: Path) -> Iterator[None]:
    """Have a disk's error that names no file name `place`, as when a write fails."""
    try:
        yield
    except OSError as error:
        short = error.errno is None and _TOLD.search(str(error)) is not None  # from numpy
        code = errno.ENOSPC if short else error.errno
        if code not in _OF_DISKS or error.filename is not None:
            raise
        raise OSError(code, os.strerror(code), str(place)) from error


def disk_trouble(error: BaseException) -> str | None:
    """What a full or closed disk has kept from being written, and what to do; None of other errors."""
    if isinstance(error, OSError) and error.errno in (*_FULL, *_CLOSED):
        full = error.errno in _FULL
        place = f"{error.filename2 or error.filename}: " if error.filename else ""
        what = f"{place}{error.strerror}"
    elif (told := _TOLD.search(str(error))) is not None:
        full, what = told["full"] is not None, " ".join(str(error).split())[:300]
    else:
        return None
    cure = "make room there" if full else "let this user read and write there"
    return f"{what}; {cure} and run the same command again, what was finished stays"
