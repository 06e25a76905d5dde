"""What a study found, before it is written down."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: bool = True
    """Whether all columns but the first are numbers."""


@dataclass(frozen=True)
class Outcome:
    """Numbers, and how the page tells them."""

    title: str
    method: str
    """How it was measured, for the page."""
    seeds: Sequence[int]
    results: Mapping[str, Any]
    """JSON of what is the study's own."""
    tables: Sequence[Table]
    findings: Sequence[str]
    """Sentences that the numbers decided."""
    draw: Callable[[Path], None]
    """Saves the figure as SVG."""
