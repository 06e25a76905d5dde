"""What a case found: figures with their spread, and ratios beside what they were asked to be."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Spread:
    """The middle of what was measured, and its ends."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Of at least one value."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))

    def shown(self, digits: int = 3) -> str:
        """With so many significant digits; the ends where they differ."""
        middle = number(self.median, digits)
        if self.low == self.high:
            return middle
        return f"{middle} ({number(self.low, digits)} – {number(self.high, digits)})"


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, whole ones with commas."""
    if value == 0:
        return "0"
    places = digits - 1 - len(str(int(abs(value)))) + 1
    return f"{value:,.{max(places, 0)}f}" if abs(value) >= 1 else f"{value:.{digits}g}"


@dataclass(frozen=True)
class Figure:
    """One line of a case's table."""

    side: str
    """Who: a model, a peer, a step."""
    what: str
    """Which quantity, the same words for all sides."""
    unit: str
    value: Spread


@dataclass(frozen=True)
class Ratio:
    """How much better one side is, as a number that is larger when the project is better."""

    name: str
    value: Spread
    """Of the two sides in the same turn."""
    asked: float | None = None
    """At least; none where nothing was asked."""

    @property
    def kept(self) -> bool:
        """Whether the median is what was asked."""
        return self.asked is None or self.value.median >= self.asked


@dataclass(frozen=True)
class Measured:
    """All that a case found."""

    case: str
    title: str
    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    figures: Sequence[Figure]
    ratios: Sequence[Ratio]
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """For the plot of the case: points (x, y) by name."""
    notes: Sequence[str] = ()
    """What a reader has to know to believe the figures, a sentence each."""

    def to_json(self) -> str:
        """For `docs/results/speed/<case>.json`."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `to_json` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = [Figure(**{**one, "value": Spread(**one["value"])}) for one in content["figures"]]
        ratios = [Ratio(**{**one, "value": Spread(**one["value"])}) for one in content["ratios"]]
        curves = {
            name: [(float(x), float(y)) for x, y in points]
            for name, points in content["curves"].items()
        }
        return cls(**{**content, "figures": figures, "ratios": ratios, "curves": curves})
