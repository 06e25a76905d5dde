"""Packages: which versions `requirements.lock` pins, and which of them a run needs."""

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pins(lock: Path) -> dict[str, str]:
    """The version of each package in the lock, by its name there."""
    found = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        name, separator, version = line.split("#")[0].strip().partition("==")
        if separator:
            found[name] = version.split(";")[0].strip()
    return found


def with_what_they_need(requirements: Iterable[str]) -> set[str]:
    """Names of the required packages and of all that they need here, as installed packages say."""
    seen: set[tuple[str, frozenset[str]]] = set()
    ahead = [Requirement(text) for text in requirements]
    while ahead:
        wanted = ahead.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            needs = importlib.metadata.requires(wanted.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for one in map(Requirement, needs):
            extras = ("", *wanted.extras)
            if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in extras):
                ahead.append(one)
    return {name for name, _ in seen}
