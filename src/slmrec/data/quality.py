"""Which source rows are kept, and why the others are not."""

import numpy as np
import polars as pl

from slmrec.columns import Batch, Interactions, Quarantine
from slmrec.config import IngestInteractions
from slmrec.data.identifiers import Codes, Identifiers
from slmrec.data.times import TimeFormat, microseconds

FILTERED = "filtered"
"""Column of `judge`: a sound row that the configuration leaves out."""
MOMENT = "moment"
"""Column of `judge`: microseconds since 1970 UTC, int64."""
TEXT_LENGTH = 200
_MICROSECONDS = 1_000_000
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_REPLACEMENT = "\ufffd"  # what a byte that is not UTF-8 was read as
_BLANKS = " \t\r"
_MOST_BLANKS = 1000
_MOST_BYTES = 4  # of a character in UTF-8
_TEXT = "text"
_USER_BAD = "user_bad"
_ITEM_BAD = "item_bad"
_TIME_GIVEN = "time_given"
_RATING_BAD = "rating_bad"
_FIELDS = (Interactions.USER, Interactions.ITEM, Interactions.RATING, Interactions.TIME)

JudgedIds = tuple[Codes, pl.Series]
"""Of each row the code of its id, and the reason against the id or null."""


class IdColumn:
    """The ids of one column: each different text is judged once, however often it comes."""

    def __init__(self, kind: str, max_length: int) -> None:
        text = pl.col(_TEXT)
        self.identifiers = Identifiers()
        self._most_bytes = _MOST_BYTES * max_length
        self._rules = (
            (f"missing {kind} id", text == ""),
            (f"{kind} id is not UTF-8", text.str.contains(_REPLACEMENT, literal=True)),
            (f"{kind} id has control characters", text.str.contains(_CONTROL)),
            (f"over-long {kind} id", text.str.len_chars() > max_length),
        )
        self._fault = np.zeros(0, np.int8)  # [codes], place of the first broken rule, from 1
        self._stripped = np.zeros(0, np.uint32)  # [codes], the code without the blanks around it

    def read(self, texts: pl.Series) -> JudgedIds:
        """Give the code of each id, blanks around it left out, and the reason against it or null.

        Not for two threads at once.
        """
        texts = texts.fill_null("")
        too_long = None
        if (texts.str.len_bytes().max() or 0) > self._most_bytes:  # type: ignore[operator]
            # Such a text would fill memory for nothing, and is not even worth a look for blanks.
            hopeless = texts.str.len_bytes() > self._most_bytes + _MOST_BLANKS
            texts = texts.set(hopeless, "").str.strip_chars(_BLANKS)
            too_long = hopeless | (texts.str.len_bytes() > self._most_bytes)
            texts = texts.set(too_long, "")
        codes = self._codes(texts)
        fault = self._fault[codes]
        if too_long is not None:
            fault[too_long.to_numpy()] = len(self._rules)
        if not fault.any():
            return self._stripped[codes], pl.Series([None], dtype=pl.String).new_from_index(
                0, len(codes)
            )
        reasons = pl.Series([None, *(name for name, _ in self._rules)], dtype=pl.String)
        return self._stripped[codes], reasons.gather(fault)

    def _codes(self, texts: pl.Series) -> Codes:
        codes = self.identifiers.encode(texts)
        known, after = len(self._fault), int(codes.max(initial=0)) + 1
        if after <= known:
            return codes
        new = np.arange(known, after, dtype=np.uint32)
        given = self.identifiers.texts(new)
        text = given.str.strip_chars(_BLANKS)
        broken = [pl.when(rule).then(place) for place, (_, rule) in enumerate(self._rules, start=1)]
        fault = text.to_frame(_TEXT).select(pl.coalesce(*broken, 0).cast(pl.Int8)).to_series()
        self._fault = np.concatenate([self._fault, fault.to_numpy()])
        self._stripped = np.concatenate([self._stripped, new])
        padded = (given != text).to_numpy()
        if padded.any():
            self._stripped[new[padded]] = self._codes(text.filter(padded))
        return codes


def judge(
    batch: pl.DataFrame,
    time_format: TimeFormat,
    settings: IngestInteractions,
    users: JudgedIds,
    items: JudgedIds,
) -> pl.DataFrame:
    """Parse the rows of a reader's batch and name the first rule that each bad row breaks.

    `users` and `items` are the ids of these rows. Returns line, user_id and item_id (codes), moment
    (int64), rating (float32), reason (null when sound) and filtered (bool, false where there is a
    reason), a row each.
    """
    user, user_reason = users
    item, item_reason = items
    parsed = _parsed(batch, time_format).with_columns(
        pl.Series(Interactions.USER, user),
        pl.Series(Interactions.ITEM, item),
        user_reason.alias(_USER_BAD),
        item_reason.alias(_ITEM_BAD),
    )
    low = pl.lit(value=False)
    if settings.min_rating is not None:
        low = (pl.col(Interactions.RATING) < settings.min_rating).fill_null(value=False)
    judged = parsed.with_columns(_reason(settings).alias(Quarantine.REASON))
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
        [
            # Cut before they are joined: a long text that many rows share is in memory but once.
            pl.col(name).cast(pl.String, strict=False).fill_null("").str.slice(0, TEXT_LENGTH)
            for name in _FIELDS
        ],
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
        microseconds(time_format, batch.schema[Interactions.TIME]).alias(MOMENT),
        given.fill_null(value=False).alias(_TIME_GIVEN),
        rating.alias(Interactions.RATING),
        (rating_given & (rating.is_null() | ~rating.is_finite())).alias(_RATING_BAD),
    )


def _reason(settings: IngestInteractions) -> pl.Expr:
    moment = pl.col(MOMENT)
    rules = [
        ("missing time", ~pl.col(_TIME_GIVEN)),
        ("unparsable time", moment.is_null()),
        ("time before the earliest", moment < settings.earliest * _MICROSECONDS),
        ("time after the latest", moment >= (settings.latest + 1) * _MICROSECONDS),
        ("unparsable rating", pl.col(_RATING_BAD)),
    ]
    # `coalesce` takes the first rule that speaks, so the order above is the order of precedence.
    return pl.coalesce(
        *(pl.col(name) for name in (Batch.MALFORMED, _USER_BAD, _ITEM_BAD)),
        *[pl.when(broken).then(pl.lit(name)) for name, broken in rules],
    )
