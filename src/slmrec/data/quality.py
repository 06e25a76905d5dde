"""Which source rows are kept, and why the others are not."""

import polars as pl

from slmrec.columns import Batch, Interactions, Quarantine
from slmrec.config import IngestInteractions
from slmrec.data.times import TimeFormat, microseconds

FILTERED = "filtered"
"""Column of `judge`: a sound row that the configuration leaves out."""
MOMENT = "moment"
"""Column of `judge`: microseconds since 1970 UTC, int64."""
TEXT_LENGTH = 200
_MICROSECONDS = 1_000_000
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_REPLACEMENT = "\ufffd"  # what a byte that is not UTF-8 was read as
_TIME_GIVEN = "time_given"
_RATING_BAD = "rating_bad"
_FIELDS = (Interactions.USER, Interactions.ITEM, Interactions.RATING, Interactions.TIME)


def judge(
    batch: pl.DataFrame, time_format: TimeFormat, settings: IngestInteractions
) -> pl.DataFrame:
    """Parse the rows of a reader's batch and name the first rule that each bad row breaks.

    Returns line, user_id, item_id (text), moment (int64), rating (float32), reason (null when
    sound) and filtered (bool, false where there is a reason), a row each.
    """
    parsed = _parsed(batch, time_format)
    reason = _reason(settings)
    judged = parsed.with_columns(reason.alias(Quarantine.REASON))
    low = pl.lit(value=False)
    if settings.min_rating is not None:
        low = (pl.col(Interactions.RATING) < settings.min_rating).fill_null(value=False)
    return judged.select(
        Batch.LINE,
        Interactions.USER,
        Interactions.ITEM,
        MOMENT,
        Interactions.RATING,
        Quarantine.REASON,
        (low & pl.col(Quarantine.REASON).is_null()).alias(FILTERED),
    )


def set_aside(batch: pl.DataFrame, judged: pl.DataFrame, file: str) -> pl.DataFrame:
    """Give the quarantine's rows of a judged batch, columns `Quarantine`.

    The text is the line as read where it is malformed, else its fields; cut, and without control
    characters.
    """
    bad = judged[Quarantine.REASON].is_not_null()
    fields = pl.concat_str(
        [pl.col(name).cast(pl.String, strict=False).fill_null("") for name in _FIELDS],
        separator=",",
    )
    text = pl.coalesce(pl.col(Batch.RAW), fields)
    return batch.filter(bad).select(
        pl.lit(file).alias(Quarantine.FILE),
        pl.col(Batch.LINE).alias(Quarantine.LINE),
        judged.filter(bad)[Quarantine.REASON],
        safe_text(text).alias(Quarantine.TEXT),
    )


def safe_text(text: pl.Expr) -> pl.Expr:
    """Cut a text and replace what could move a terminal's cursor."""
    return text.str.slice(0, TEXT_LENGTH).str.replace_all(_CONTROL, _REPLACEMENT)


def _parsed(batch: pl.DataFrame, time_format: TimeFormat) -> pl.DataFrame:
    ids = [pl.col(name).str.strip_chars(" \t\r") for name in (Interactions.USER, Interactions.ITEM)]
    time = pl.col(Interactions.TIME)
    given = time.is_not_null()
    if batch.schema[Interactions.TIME] == pl.String:
        given &= time.str.strip_chars() != ""
    rating = pl.col(Interactions.RATING)
    if batch.schema[Interactions.RATING] == pl.String:
        rating_text = rating.str.strip_chars()
        rating = rating_text.cast(pl.Float32, strict=False)
        rating_given = rating_text.is_not_null() & (rating_text != "")
    else:
        rating_given = rating.is_not_null()
        rating = rating.cast(pl.Float32, strict=False)
    return batch.select(
        Batch.LINE,
        Batch.MALFORMED,
        *ids,
        microseconds(time_format, batch.schema[Interactions.TIME]).alias(MOMENT),
        given.fill_null(value=False).alias(_TIME_GIVEN),
        rating.alias(Interactions.RATING),
        (rating_given & (rating.is_null() | ~rating.is_finite())).alias(_RATING_BAD),
    )


def _reason(settings: IngestInteractions) -> pl.Expr:
    rules: list[tuple[str, pl.Expr]] = []
    for kind, name in (("user", Interactions.USER), ("item", Interactions.ITEM)):
        column = pl.col(name)
        rules += [
            (f"missing {kind} id", column.is_null() | (column == "")),
            (f"{kind} id is not UTF-8", column.str.contains(_REPLACEMENT, literal=True)),
            (f"{kind} id has control characters", column.str.contains(_CONTROL)),
            (f"over-long {kind} id", column.str.len_chars() > settings.max_id_length),
        ]
    moment = pl.col(MOMENT)
    rules += [
        ("missing time", ~pl.col(_TIME_GIVEN)),
        ("unparsable time", moment.is_null()),
        ("time before the earliest", moment < settings.earliest * _MICROSECONDS),
        ("time after the latest", moment >= (settings.latest + 1) * _MICROSECONDS),
        ("unparsable rating", pl.col(_RATING_BAD)),
    ]
    # `coalesce` takes the first rule that speaks, so the order above is the order of precedence.
    return pl.coalesce(
        pl.col(Batch.MALFORMED), *[pl.when(broken).then(pl.lit(name)) for name, broken in rules]
    )
