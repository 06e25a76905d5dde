"""Values from files that anybody may have written: taken when they are what they should be."""

import hashlib
import math
import re
from typing import Any, TypeVar

T = TypeVar("T")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DEPTH, _LENGTH = 8, 2000
_LARGEST = 2**1000
"""Whole numbers that a float can take, and some to spare."""


def pick(content: Any, *path: str, of: type[T]) -> T | None:
    """What lies at a path of keys, or None where there is nothing of that type.

    A whole number counts as a float; a truth value is no number; neither is NaN or infinity.
    """
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    if isinstance(content, int) and abs(content) >= _LARGEST:
        return None
    if of is float and isinstance(content, int) and not isinstance(content, bool):
        content = float(content)
    if of in (int, float) and isinstance(content, bool):
        return None
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content if isinstance(content, of) else None


def text(content: Any, *path: str) -> str:
    """The text at a path of keys; empty where there is none."""
    return pick(content, *path, of=str) or ""


def rows(content: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of the list at a path of keys."""
    return [row for row in pick(content, *path, of=list) or [] if isinstance(row, dict)]


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """The value as JSON can hold it: no NaN, neither too deep nor too long."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {str(key): plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth - 1) for inner in value[:_LENGTH]]
    return str(value)


def slug(name: str) -> str:
    """A name as part of an address: itself where it is harmless, else a digest of it."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    return f"x-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
