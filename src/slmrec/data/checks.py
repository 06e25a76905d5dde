"""The outcome of one check on data, whoever makes it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One rule, what was expected, and what was found."""

    suite: str
    """Group of the rule: a suite of Great Expectations, or `histories`, `previous` and so on."""
    expectation: str
    """What is checked; of Great Expectations the name, `expect_…`."""
    column: str
    """Column or columns; empty when it is about the table."""
    expected: str
    """The bounds, as text."""
    success: bool
    rows: int
    """Rows looked at; 0 when the rule is about one figure."""
    unexpected: int
    """Rows that break it."""
    observed: str
    """The figure found, when the rule is about one; or why it could not be evaluated."""
    examples: tuple[str, ...]
    """A few of the values that break it, cut to a safe length."""
    notes: str

    def to_json(self) -> dict[str, Any]:
        """Give the check as a JSON-able mapping."""
        return {**asdict(self), "examples": list(self.examples)}


def rule(
    suite: str,
    expectation: str,
    *,
    rows: int,
    unexpected: int,
    expected: str = "none",
    examples: tuple[str, ...] = (),
    notes: str = "",
) -> Check:
    """Make a check of a rule that no row may break."""
    return Check(
        suite, expectation, "", expected, not unexpected, rows, unexpected, "", examples, notes
    )


def bound(
    suite: str,
    expectation: str,
    observed: float,
    *,
    least: float | None = None,
    most: float | None = None,
    notes: str = "",
    examples: tuple[str, ...] = (),
    rows: int = 0,
    unexpected: int = 0,
) -> Check:
    """Make a check of one figure between bounds; a bound that is None does not count."""
    words = [] if least is None else [f"at least {shown_number(least)}"]
    words += [] if most is None else [f"at most {shown_number(most)}"]
    success = (least is None or observed >= least) and (most is None or observed <= most)
    return Check(
        *(suite, expectation, "", " and ".join(words), success, rows, unexpected),
        *(shown_number(observed), examples, notes),
    )


def shown_number(number: float) -> str:
    """Give a figure as people read it: whole ones in full, others with six digits."""
    return f"{int(number):,}" if float(number).is_integer() else f"{number:.6g}"
