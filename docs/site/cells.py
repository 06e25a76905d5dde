"""Markdown that the generated pages share."""

from collections.abc import Iterable, Sequence

MADE = "<!-- Made from the code by `make reference`; changes belong into the code. -->"


def cell(text: str) -> str:
    """A text as it may stand in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def document(parts: Iterable[str]) -> str:
    """A page of its parts, an empty line between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
