"""CHANGELOG.md as a release reads and cuts it; the format is Keep a Changelog's."""

import re

from packaging.version import Version

from slmrec.errors import ConfigError

FILE = "CHANGELOG.md"
_UNRELEASED = "## [Unreleased]\n"
_HEADING = re.compile(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", re.MULTILINE)


def released(text: str) -> list[Version]:
    """Versions that have a heading, as they stand."""
    return [Version(found) for found in _HEADING.findall(text)]


def unreleased(text: str) -> str:
    """What stands below `## [Unreleased]`, without space around it.

    Raises `ConfigError` when there is no such heading, or more than one.
    """
    if text.count(_UNRELEASED) != 1:
        raise ConfigError(
            f"{FILE}: {text.count(_UNRELEASED)} lines '{_UNRELEASED.strip()}', expected one, under "
            "which changes are written"
        )
    below = text.partition(_UNRELEASED)[2]
    heading = re.search(r"^## ", below, re.MULTILINE)
    return (below[: heading.start()] if heading else below).strip()


def cut(text: str, version: Version, date: str) -> str:
    """The changelog with its unreleased entries under a version, and nothing unreleased.

    A version without any is what its own newest release candidate was, and says so. Raises
    `ConfigError` when there is none either.
    """
    heading = f"{_UNRELEASED}\n## [{version}] - {date}\n"
    if not re.search(r"^- \S", unreleased(text), re.MULTILINE):
        newest = max(released(text), default=None)
        if newest and newest.is_prerelease and newest.release == version.release:
            return text.replace(_UNRELEASED, f"{heading}\nAs {newest}.\n")
        raise ConfigError(
            f"{FILE}: nothing under '{_UNRELEASED.strip()}', so there is nothing to release; write "
            "what has changed for users"
        )
    return text.replace(_UNRELEASED, heading)
