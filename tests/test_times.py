import pytest

from slmrec.times import day, moment


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (951_868_799, "2000-02-29T23:59:59Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (10**12, "33658-09-27T01:46:40Z"),  # beyond the years of `datetime`
    ],
)
def test_times_are_told_in_utc_however_far_away(seconds: int, told: str) -> None:
    assert moment(seconds) == told
    assert day(seconds) == told.partition("T")[0]
