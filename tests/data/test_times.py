import polars as pl
import pytest

from slmrec.data.times import detect_time_format, seconds

# 2013-02-28 14:38:27 UTC
MOMENT = 1_362_062_307


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{MOMENT}", "seconds"),
        (f" {MOMENT}.75 ", "seconds"),
        (f"{MOMENT}500", "milliseconds"),
        (f"{MOMENT}000001", "microseconds"),
        (f"{MOMENT}999999999", "nanoseconds"),
        ("2013-02-28T14:38:27Z", "ISO 8601"),
        ("2013-02-28 14:38:27.9", "ISO 8601"),
        ("2013-02-28T16:38:27+02:00", "ISO 8601"),
    ],
)
def test_the_moment_is_the_same_when_the_unit_differs(text, name):
    frame = pl.LazyFrame({"timestamp": [text, None, ""]})
    time_format = detect_time_format(frame)
    assert time_format.name == name
    assert frame.select(seconds(time_format)).collect()["timestamp"].to_list() == [
        MOMENT,
        None,
        None,
    ]


def test_a_date_is_midnight_when_there_is_no_time_of_day():
    frame = pl.LazyFrame({"timestamp": ["1970-01-03", "1970-01-03 00:01"]})
    assert frame.select(seconds(detect_time_format(frame))).collect()["timestamp"].to_list() == [
        2 * 86_400,
        2 * 86_400 + 60,
    ]


def test_one_stray_value_does_not_decide_when_most_are_seconds():
    frame = pl.LazyFrame({"timestamp": ["1362062307", "1362062308", "9" * 18, "soon"]})
    assert detect_time_format(frame).name == "seconds"


def test_nothing_wraps_when_a_number_is_beyond_every_time():
    frame = pl.LazyFrame({"timestamp": ["1e300", "inf", "nan", "9" * 25, "-5"]})
    found = frame.select(seconds(detect_time_format(pl.LazyFrame({"timestamp": ["5"]})))).collect()
    assert found["timestamp"].to_list() == [None, None, None, None, -5]
