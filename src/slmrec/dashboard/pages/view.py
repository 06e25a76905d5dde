"""What a page is before anybody asks for it: its address, its content, and where it occurs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from slmrec.dashboard.records import Records
from slmrec.dashboard.rendering import Page

Arguments = Mapping[str, str]


class PageMissingError(LookupError):
    """No such page; the message says what there is none of."""


@dataclass(frozen=True)
class View:
    """All pages of one kind."""

    pattern: tuple[str, ...]
    """Segments of the path; one in braces takes a value."""
    build: Callable[[Records, Arguments], Page]
    """Raises `PageMissingError`."""
    instances: Callable[[Records], Iterable[Arguments]] = lambda records: ({},)
    """The values of every page that there is."""

    def path(self, arguments: Arguments) -> tuple[str, ...]:
        """The segments of one page's path."""
        return tuple(part.format_map(arguments) for part in self.pattern)


def numbered(arguments: Arguments, name: str, most: int) -> int:
    """A whole number from 1 to `most` of an address. Raises `PageMissingError`."""
    found = arguments[name]
    if not (found.isascii() and found.isdecimal() and len(found) < 10 and 1 <= int(found) <= most):
        raise PageMissingError(f"there is no {name} of that number")
    return int(found)


def page_count(rows: int, size: int) -> int:
    """How many pages so many rows fill, at least one."""
    return max(-(-rows // size), 1)
