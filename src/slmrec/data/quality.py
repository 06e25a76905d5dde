"""Which source rows are kept, and why the others are not."""

import polars as pl

from slmrec.columns import Interactions, Quarantine
from slmrec.config import IngestInteractions
from slmrec.data.readers import SURPLUS
from slmrec.data.times import TimeFormat, seconds

FILTERED = "filtered"
"""Column of `judge`: a sound row that the configuration leaves out."""
TEXT_LENGTH = 200
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_REPLACEMENT = "\ufffd"  # what a byte that is not UTF-8 was read as


def judge(
    frame: pl.LazyFrame, time_format: TimeFormat, settings: IngestInteractions
) -> pl.LazyFrame:
    """Parse the rows of `read_interactions` and name the first rule that each bad row breaks.

    Returns the columns `Interactions` with their types, `reason` (null when sound), `text` (the
    row, cut and without control characters, only where there is a reason) and `filtered` (bool).
    """
    user = pl.col(Interactions.USER).str.strip_chars(" \t\r")
    item = pl.col(Interactions.ITEM).str.strip_chars(" \t\r")
    rating_text = pl.col(Interactions.RATING).str.strip_chars()
    has_rating = rating_text.is_not_null() & (rating_text != "")
    rating = rating_text.cast(pl.Float32, strict=False)
    time_text = pl.col(Interactions.TIME).str.strip_chars()
    time = seconds(time_format)
    nothing = pl.col(Quarantine.TEXT).is_null() | (pl.col(Quarantine.TEXT).str.strip_chars() == "")
    rules: list[tuple[str, pl.Expr]] = [
        ("empty line", nothing),
        ("more fields than the header", pl.col(SURPLUS).is_not_null()),
    ]
    for name, column in (("user", user), ("item", item)):
        rules += [
            (f"missing {name} id", column.is_null() | (column == "")),
            (f"{name} id is not UTF-8", column.str.contains(_REPLACEMENT, literal=True)),
            (f"{name} id has control characters", column.str.contains(_CONTROL)),
            (f"over-long {name} id", column.str.len_chars() > settings.max_id_length),
        ]
    rules += [
        ("missing time", time_text.is_null() | (time_text == "")),
        ("unparsable time", time.is_null()),
        ("time before the earliest", time < settings.earliest),
        ("time after the latest", time > settings.latest),
        ("unparsable rating", has_rating & (rating.is_null() | ~rating.is_finite())),
    ]
    # `coalesce` takes the first rule that speaks, so the order above is the order of precedence.
    reason = pl.coalesce([pl.when(broken).then(pl.lit(name)) for name, broken in rules])
    low = pl.lit(False) if settings.min_rating is None else (rating < settings.min_rating)
    parsed = frame.select(
        user.alias(Interactions.USER),
        item.alias(Interactions.ITEM),
        time.alias(Interactions.TIME),
        rating.alias(Interactions.RATING),
        pl.col(Interactions.ROW),
        reason.alias(Quarantine.REASON),
        low.fill_null(value=False).alias(FILTERED),
        pl.col(Quarantine.TEXT),
    )
    bad = pl.col(Quarantine.REASON).is_not_null()
    return parsed.with_columns(
        pl.when(bad)
        .then(
            pl.col(Quarantine.TEXT)
            .fill_null("")
            .str.slice(0, TEXT_LENGTH)
            .str.replace_all(_CONTROL, _REPLACEMENT)
        )
        .alias(Quarantine.TEXT),
        (pl.col(FILTERED) & ~bad).alias(FILTERED),
    )
