import polars as pl
import pytest

from slmrec.data.times import TYPED, TimeFormat, count_times, microseconds

TEXT = pl.String()


def detected(*texts):
    return count_times(pl.LazyFrame({"timestamp": texts}), TEXT).time_format()


def moments(time_format, *values, dtype=pl.String):
    frame = pl.DataFrame({"timestamp": pl.Series(values, dtype=dtype)})
    return frame.select(microseconds(time_format, frame.schema["timestamp"])).to_series().to_list()


# 2013-02-28 14:38:27 UTC
MOMENT = 1_362_062_307


@pytest.mark.parametrize(
    ("text", "name", "beyond"),
    [
        (f"{MOMENT}", "seconds", 0),
        (f" {MOMENT}.75 ", "seconds", 750_000),
        (f"{MOMENT}500", "milliseconds", 500_000),
        (f"{MOMENT}000001", "microseconds", 1),
        (f"{MOMENT}999999999", "nanoseconds", 999_999),
        ("2013-02-28T14:38:27Z", "ISO 8601", 0),
        ("2013-02-28 14:38:27.9", "ISO 8601", 900_000),
        ("2013-02-28T16:38:27+02:00", "ISO 8601", 0),
    ],
)
def test_the_moment_is_the_same_when_the_unit_differs(text, name, beyond):
    time_format = detected(text, None, "")
    assert time_format.name == name
    assert moments(time_format, text, None, "") == [MOMENT * 1_000_000 + beyond, None, None]


def test_a_date_is_midnight_when_there_is_no_time_of_day():
    texts = ("1970-01-03", "1970-01-03 00:01")
    days = 2 * 86_400_000_000
    assert moments(detected(*texts), *texts) == [days, days + 60_000_000]


def test_one_stray_value_does_not_decide_when_most_are_seconds():
    assert detected("1362062307", "1362062308", "9" * 18, "soon").name == "seconds"


def test_counts_are_of_the_whole_log_when_files_are_added():
    one = count_times(pl.LazyFrame({"timestamp": [5] * 3}), pl.Int64())
    other = count_times(pl.LazyFrame({"timestamp": [1_362_062_307_000] * 4}), pl.Int64())
    assert one.time_format().name == "seconds"
    assert (one + other).time_format().name == "milliseconds"


def test_nothing_wraps_when_a_number_is_beyond_every_time():
    seconds = TimeFormat("seconds", 1)
    far, *nothing, early, late = moments(seconds, "1e300", "inf", "nan", "-5", "9" * 18)
    assert nothing == [None, None]
    assert early == -5_000_000
    assert far == late == 9 * 10**18


def test_numbers_are_read_as_they_are_typed():
    milliseconds = TimeFormat("milliseconds", 1000)
    assert moments(milliseconds, 1500, None, dtype=pl.Int64) == [1_500_000, None]
    assert moments(milliseconds, 1500.25, float("nan"), dtype=pl.Float64) == [1_500_250, None]
    assert moments(TYPED, 7, dtype=pl.Int64) == [7]
