"""Names that come from outside, before they become files: what would leave its root is refused."""

import re
from pathlib import Path
from urllib.parse import unquote

MOST_BYTES_OF_A_PART = 255
"""Of a file's or folder's name, by what Linux' file systems allow."""
MOST_BYTES = 1024
"""Of a whole name below a root, as of an object's in Cloud Storage."""
_SEPARATORS = re.compile(r"[/\\]")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def climbs(name: str) -> bool:
    """Whether a part of a name is `.` or `..`, plainly or behind percent signs, with either slash.

    Takes time by the square of the length, so very long names are better refused first.
    """
    for _ in range(len(name)):
        if any(part in (".", "..") for part in _SEPARATORS.split(name)):
            return True
        decoded = unquote(name)
        if decoded == name:
            return False
        name = decoded
    return False


def objection(name: str) -> str:
    """Why a name may not be one below a root; empty where it may.

    A name's parts are joined by '/'. What some system would read as a separator, a root or a way up
    is refused on every system.
    """
    size = size_of(name)
    if size is None:
        return "it is no Unicode text"
    if (
        size > MOST_BYTES
        or max(size_of(part) or 0 for part in name.split("/")) > MOST_BYTES_OF_A_PART
    ):
        return f"it is {size} bytes long"
    if UNPRINTABLE.search(unquote(name)):
        return "it holds an unprintable character"
    if climbs(name):
        return "a part of it is '.' or '..'"
    if "\\" in name:
        return "it holds a backslash"
    if name.startswith("/"):
        return "it is absolute"
    if not all(name.split("/")):
        return "a part of it is empty"
    return ""


def size_of(name: str) -> int | None:
    """Bytes of a name; None where it is no Unicode text, as half a surrogate pair is none."""
    try:
        return len(name.encode())
    except UnicodeEncodeError:
        return None


def leads_out(root: Path, path: Path) -> bool:
    """Whether a path below a root leads out of it by a link, or in a circle."""
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a circle of links
        return True
