"""Timestamps in whatever form a log has them, to microseconds since 1970 UTC."""

from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from slmrec.columns import Interactions

# Upper bounds of the magnitude, and units a second: 1e11 s is the year 5138 and 1e11 ms is March
# 1973, so a log of our times falls on one side.
_UNITS = (
    (1e11, "seconds", 1),
    (1e14, "milliseconds", 10**3),
    (1e17, "microseconds", 10**6),
    (float("inf"), "nanoseconds", 10**9),
)
_ISO_FORMATS = (
    *("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f"),
    *("%Y-%m-%d %H:%M", "%Y-%m-%d"),
)
_MICROSECONDS = 1_000_000
_MOST_SECONDS = 9 * 10**12  # more would not fit into 64 bits of microseconds


@dataclass(frozen=True)
class TimeFormat:
    """How a log writes its times: a name to tell the user, and units in a second (0: ISO 8601)."""

    name: str
    per_second: int


SECONDS = TimeFormat("seconds", 1)
POSITIONS = TimeFormat("positions in the history, no times", 1)
TYPED = TimeFormat("typed timestamps, taken as UTC where they name no zone", _MICROSECONDS)


@dataclass(frozen=True)
class TimeCounts:
    """How many times of a log look like what."""

    texts: int = 0
    """Times that are given at all."""
    units: tuple[int, ...] = (0,) * len(_UNITS)
    """Numbers of the magnitude of seconds, milliseconds, microseconds, nanoseconds."""

    def __add__(self, other: "TimeCounts") -> "TimeCounts":
        added = tuple(a + b for a, b in zip(self.units, other.units, strict=True))
        return TimeCounts(self.texts + other.texts, added)

    def time_format(self) -> TimeFormat:
        """Decide by majority: of numbers and texts first, then of the units."""
        if 2 * sum(self.units) < self.texts:
            return TimeFormat("ISO 8601", 0)
        most = max(range(len(_UNITS)), key=lambda unit: self.units[unit])
        return TimeFormat(*_UNITS[most][1:])


def count_times(frame: pl.LazyFrame, dtype: pl.DataType) -> TimeCounts:
    """Count the times of a whole column `timestamp`, a number or a text."""
    column = pl.col(Interactions.TIME)
    given = column.is_not_null()
    if dtype == pl.String:
        text = column.str.strip_chars()
        given &= text != ""
        column = text.cast(pl.Float64, strict=False)
    magnitude = column.cast(pl.Float64).abs()
    lower = [0.0, *(bound for bound, _, _ in _UNITS)]
    counts = [
        magnitude.is_between(low, high, closed="left").sum().alias(str(unit))
        for unit, (low, high) in enumerate(pairwise(lower))
    ]
    found = frame.select(given.sum().alias("given"), *counts).collect(engine="streaming")
    given_times, *units = (int(value or 0) for value in found.row(0))
    return TimeCounts(given_times, tuple(units))


def microseconds(time_format: TimeFormat, dtype: pl.DataType) -> pl.Expr:
    """Column `timestamp` as microseconds since 1970 UTC, int64; null where it is no time.

    Times beyond ±9·10¹² seconds come out as that bound.
    """
    column = pl.col(Interactions.TIME)
    if not time_format.per_second:
        return _from_iso(column.cast(pl.String).str.strip_chars())
    if dtype == pl.String:
        text = column.str.strip_chars()
        whole = text.cast(pl.Int64, strict=False)
        fraction = text.cast(pl.Float64, strict=False)
        return pl.coalesce(_scaled(whole, time_format), _scaled_fraction(fraction, time_format))
    if dtype.is_float():
        return _scaled_fraction(column.cast(pl.Float64), time_format)
    return _scaled(column.cast(pl.Int64, strict=False), time_format)


def _scaled(whole: pl.Expr, time_format: TimeFormat) -> pl.Expr:
    if time_format.per_second > _MICROSECONDS:
        return whole // (time_format.per_second // _MICROSECONDS)
    bound = _MOST_SECONDS * time_format.per_second
    return whole.clip(-bound, bound) * (_MICROSECONDS // time_format.per_second)


def _scaled_fraction(number: pl.Expr, time_format: TimeFormat) -> pl.Expr:
    finite = pl.when(number.is_finite()).then(number)
    bound = float(_MOST_SECONDS * _MICROSECONDS)
    scaled = (finite * (_MICROSECONDS / time_format.per_second)).round().clip(-bound, bound)
    return scaled.cast(pl.Int64, strict=False)


def _from_iso(text: pl.Expr) -> pl.Expr:
    spaced = text.str.replace("T", " ", literal=True).str.replace(r"[Zz]$", "+00:00")
    parsed = [
        spaced.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
        if form.endswith("z")
        else spaced.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone("UTC")
        for form in _ISO_FORMATS
    ]
    return pl.coalesce(parsed).dt.epoch("us")
