import polars as pl

from slmrec.config import IngestInteractions
from slmrec.data.quality import IdColumn, judge, set_aside
from slmrec.data.times import TimeFormat

SECONDS = TimeFormat("seconds", 1)
IDS = ("user_id", "item_id")
SETTINGS = IngestInteractions(max_id_length=5, earliest=10, latest=99, min_rating=3)


def batch_of(*rows: tuple[str | None, ...]) -> pl.DataFrame:
    names = ("user_id", "item_id", "timestamp", "rating", "malformed", "raw")
    padded = [(*row, *[None] * (len(names) - len(row))) for row in rows]
    return pl.DataFrame(
        {
            "line": range(2, len(rows) + 2),
            **{name: [row[i] for row in padded] for i, name in enumerate(names)},
        },
        schema={"line": pl.Int64, **dict.fromkeys(names, pl.String)},
    )


def judged_frame(batch: pl.DataFrame, time_format: TimeFormat = SECONDS) -> pl.DataFrame:
    """What is judged, ids as texts."""
    columns = [IdColumn(kind, SETTINGS.max_id_length) for kind in ("user", "item")]
    users, items = (ids.read(batch[name]) for ids, name in zip(columns, IDS, strict=True))
    found = judge(batch, time_format, SETTINGS, users, items)
    return found.with_columns(
        ids.identifiers.texts(found[name].to_numpy()).alias(name)
        for name, ids in zip(IDS, columns, strict=True)
    )


def judged(*rows: tuple[str | None, ...]) -> list[dict[str, object]]:
    return judged_frame(batch_of(*rows)).to_dicts()


def text_of(*row: str | None) -> str:
    batch = batch_of(row)
    (found,) = set_aside(batch, judged_frame(batch), "log.csv").to_dicts()
    assert (found["file"], found["line"]) == ("log.csv", 2)
    return found["text"]


def reason_of(*row: str | None) -> object:
    return judged(row)[0]["reason"]


def test_a_row_is_typed_and_kept_when_it_is_sound():
    (row,) = judged((" u1 ", "i1", "50", "4.5", None))
    assert row == {
        "user_id": "u1",
        "item_id": "i1",
        "moment": 50_000_000,
        "rating": 4.5,
        "line": 2,
        "reason": None,
        "filtered": False,
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
    assert reason_of("u1", "i1", "50", "4", "not JSON", "{") == "not JSON"
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


def test_a_time_keeps_its_microseconds_when_the_log_has_them():
    milliseconds = TimeFormat("milliseconds", 1000)
    (row,) = judged_frame(batch_of(("u1", "i1", "50007")), milliseconds).to_dicts()
    assert row["moment"] == 50_007_000


def test_numbers_are_taken_as_they_are_when_the_file_has_types():
    batch = batch_of(("u1", "i1"), ("u2", "i2")).with_columns(
        pl.Series("timestamp", [50, None], dtype=pl.Int64),
        pl.Series("rating", [4.5, float("inf")], dtype=pl.Float64),
    )
    sound, bad = judged_frame(batch).to_dicts()
    assert (sound["moment"], sound["rating"], sound["reason"]) == (50_000_000, 4.5, None)
    assert bad["reason"] == "missing time"


def test_the_text_is_safe_when_the_row_is_hostile():
    text = text_of("", "\x1b[2J\x00" + "x" * 500, "50")
    assert text.startswith(",\ufffd[2J\ufffdxxx")
    assert len(text) == 200
    assert text_of(None, None, None, None, "not JSON", "{\x07") == "{\ufffd"


def test_an_id_is_the_same_with_blanks_around_it_whatever_came_first():
    column = IdColumn("user", 5)
    first, _ = column.read(pl.Series([" u1", "u1"]))
    later, _ = column.read(pl.Series(["u1\t ", "u1"]))
    assert len({*first.tolist(), *later.tolist()}) == 1
    assert column.identifiers.texts(later[:1]).to_list() == ["u1"]


def test_a_broken_id_is_named_in_every_batch_when_it_comes_again():
    column = IdColumn("item", 5)
    for _ in range(2):
        _, reasons = column.read(pl.Series(["i1", "i\x00", None, "123456", "i1"]))
        assert reasons.to_list() == [
            None,
            "item id has control characters",
            "missing item id",
            "over-long item id",
            None,
        ]


def test_a_huge_id_is_refused_and_not_kept():
    column = IdColumn("item", 5)
    codes, reasons = column.read(pl.Series(["i1", "x" * 1_000_000, " " * 1000 + "i1"]))
    assert reasons.to_list() == [None, "over-long item id", None]
    assert codes[0] == codes[2]
    assert column.identifiers.texts(codes[1:2]).to_list() == [""]
