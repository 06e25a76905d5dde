import polars as pl

from slmrec.config import IngestInteractions
from slmrec.data.quality import judge
from slmrec.data.times import TimeFormat

SECONDS = TimeFormat("seconds", 1)
SETTINGS = IngestInteractions(max_id_length=5, earliest=10, latest=99, min_rating=3)


def judged(*rows: tuple[str | None, ...]) -> list[dict[str, object]]:
    names = ("user_id", "item_id", "timestamp", "rating", "surplus")
    frame = pl.LazyFrame(
        {
            "row": range(1, len(rows) + 1),
            **{name: [row[i] for row in rows] for i, name in enumerate(names)},
            "text": [",".join(field or "" for field in row) for row in rows],
        },
        schema={"row": pl.Int64, **dict.fromkeys((*names, "text"), pl.String)},
    )
    return judge(frame, SECONDS, SETTINGS).collect().to_dicts()


def reason_of(*row: str | None) -> object:
    return judged((*row, *[None] * (5 - len(row))))[0]["reason"]


def test_a_row_is_typed_and_kept_when_it_is_sound():
    (row,) = judged((" u1 ", "i1", "50", "4.5", None))
    assert row == {
        "user_id": "u1",
        "item_id": "i1",
        "timestamp": 50,
        "rating": 4.5,
        "row": 1,
        "reason": None,
        "filtered": False,
        "text": None,
    }


def test_the_reason_is_named_when_a_rule_is_broken():
    assert reason_of(None, "i1", "50") == "missing user id"
    assert reason_of("u1", "  ", "50") == "missing item id"
    assert reason_of("u12345", "i1", "50") == "over-long user id"
    assert reason_of("u1", "i1", "") == "missing time"
    assert reason_of("u1", "i1", "soon") == "unparsable time"
    assert reason_of("u1", "i1", "9") == "time before the earliest"
    assert reason_of("u1", "i1", "100") == "time after the latest"
    assert reason_of("u1", "i1", "50", "good") == "unparsable rating"
    assert reason_of("u1", "i1", "50", "nan") == "unparsable rating"
    assert reason_of("u1", "i\x001", "50") == "item id has control characters"
    assert reason_of("u\x1b[1", "i1", "50") == "user id has control characters"
    assert reason_of("u\ufffd", "i1", "50") == "user id is not UTF-8"
    assert reason_of("u1", "i1", "50", "4", "more") == "more fields than the header"
    assert reason_of(None, None, None) == "missing user id"


def test_the_bounds_belong_to_the_range_when_times_are_compared():
    assert reason_of("u1", "i1", "10") is None
    assert reason_of("u1", "i1", "99") is None
    assert reason_of("u1234", "i1", "99") is None


def test_a_rating_is_optional_and_filters_when_it_is_low():
    kept, low, equal = judged(
        ("u1", "i1", "50", "", None), ("u1", "i2", "50", "2.9", None), ("u1", "i3", "50", "3", None)
    )
    assert (kept["filtered"], low["filtered"], equal["filtered"]) == (False, True, False)
    assert low["reason"] is None
    assert kept["rating"] is None


def test_a_bad_row_is_not_filtered_too_when_its_rating_is_low():
    (row,) = judged((None, "i1", "50", "1", None))
    assert row["reason"] == "missing user id"
    assert row["filtered"] is False


def test_the_text_is_safe_when_the_row_is_hostile():
    (row,) = judged(("", "\x1b[2J\x00" + "x" * 500, "50", "", None))
    assert row["text"].startswith(",\ufffd[2J\ufffdxxx")
    assert len(row["text"]) == 200
