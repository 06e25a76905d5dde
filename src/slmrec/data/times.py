"""Timestamps in whatever form a log has them, to whole seconds."""

from dataclasses import dataclass

import polars as pl

from slmrec.columns import Interactions

# Upper bounds of the magnitude, and what one unit is in seconds: 1e11 s is the year 5138 and
# 1e11 ms is March 1973, so a log of our times falls on one side.
_UNITS = (
    (1e11, "seconds", 1),
    (1e14, "milliseconds", 10**3),
    (1e17, "microseconds", 10**6),
    (float("inf"), "nanoseconds", 10**9),
)
_ISO_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


@dataclass(frozen=True)
class TimeFormat:
    """How a log writes its times: a name to tell the user, and units in a second (0: ISO 8601)."""

    name: str
    per_second: int


def detect_time_format(frame: pl.LazyFrame) -> TimeFormat:
    """Tell the format from the whole column `timestamp` (text): by majority, then by the median."""
    text = pl.col(Interactions.TIME).str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    seen = frame.select(
        number.abs().median().alias("median"),
        number.is_not_null().sum().alias("numbers"),
        (text.is_not_null() & (text != "")).sum().alias("texts"),
    ).collect(engine="streaming")
    median, numbers, texts = seen.row(0)
    if 2 * numbers < texts:
        return TimeFormat("ISO 8601", 0)
    for bound, name, per_second in _UNITS:
        if (median or 0) < bound:
            return TimeFormat(name, per_second)
    raise AssertionError("the last bound is infinite")


def seconds(time_format: TimeFormat) -> pl.Expr:
    """Column `timestamp` (text) as whole seconds since 1970 UTC; null where it is no time."""
    text = pl.col(Interactions.TIME).str.strip_chars()
    if time_format.per_second:
        whole = text.cast(pl.Int64, strict=False)
        fraction = text.cast(pl.Float64, strict=False)
        # A float beyond int64 would wrap; the range rule would not see it.
        fraction = pl.when(fraction.is_finite() & (fraction.abs() < 9e18)).then(fraction)
        number = pl.coalesce(whole, fraction.floor().cast(pl.Int64, strict=False))
        return number // time_format.per_second
    spaced = text.str.replace("T", " ", literal=True).str.replace(r"[Zz]$", "+00:00")
    parsed = [
        spaced.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
        if form.endswith("%:z")
        else spaced.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone("UTC")
        for form in _ISO_FORMATS
    ]
    return pl.coalesce(parsed).dt.epoch("s")
