"""When schedules fire, written out by hand, and what is refused."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.submission.cron import kubeflow_cron, vertex_cron
from slmrec.errors import ConfigError

BERLIN = "Europe/Berlin"
# In 2026 Berlin's clocks go from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October.
BEFORE_SPRING = datetime(2026, 3, 27, 12, tzinfo=ZoneInfo(BERLIN))
BEFORE_AUTUMN = datetime(2026, 10, 24, 12, tzinfo=ZoneInfo(BERLIN))


def iso(times: list[datetime]) -> list[str]:
    return [time.isoformat() for time in times]


def test_the_hour_stays_in_the_zone_when_the_clocks_change() -> None:
    for cron in (kubeflow_cron("0 5 * * *", BERLIN), vertex_cron("0 5 * * *", BERLIN)):
        assert iso(cron.following(BEFORE_SPRING)) == [
            "2026-03-28T05:00:00+01:00",
            "2026-03-29T05:00:00+02:00",
            "2026-03-30T05:00:00+02:00",
            "2026-03-31T05:00:00+02:00",
            "2026-04-01T05:00:00+02:00",
        ]


def test_a_time_that_does_not_exist_is_left_out_with_seconds_and_comes_late_without() -> None:
    assert iso(kubeflow_cron("0 30 2 * * *", BERLIN).following(BEFORE_SPRING, 2)) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert iso(vertex_cron("30 2 * * *", BERLIN).following(BEFORE_SPRING, 2)) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
    ]


def test_a_time_that_exists_twice_fires_twice_with_seconds_and_once_without() -> None:
    assert iso(kubeflow_cron("0 30 2 * * *", BERLIN).following(BEFORE_AUTUMN, 3)) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-26T02:30:00+01:00",
    ]
    assert iso(vertex_cron("30 2 * * *", BERLIN).following(BEFORE_AUTUMN, 2)) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_kubeflow_gets_a_second_when_five_fields_are_given() -> None:
    assert kubeflow_cron("15 5 * * mon-fri", "UTC").text == "0 15 5 * * MON-FRI"
    assert kubeflow_cron("30 15 5 ? * 1", "UTC").text == "30 15 5 ? * 1"
    # 1 January 2026 is a Thursday, so the first Monday is the 5th.
    (first,) = kubeflow_cron("30 15 5 ? * 1", "UTC").following(datetime(2026, 1, 1, tzinfo=UTC), 1)
    assert first == datetime(2026, 1, 5, 5, 15, 30, tzinfo=UTC)


def test_six_fields_are_refused_when_vertex_is_to_read_them() -> None:
    with pytest.raises(ConfigError, match=r"'0 0 5 . . .': 6 fields; Vertex reads five: minute"):
        vertex_cron("0 0 5 * * *", "UTC")
    with pytest.raises(ConfigError, match="7 fields; Kubeflow reads six"):
        kubeflow_cron("0 0 5 * * * 2026", "UTC")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60 5 * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 5 0 * *", "bad day-of-month"),
        ("0 5 * 13 *", "bad month"),
        ("0 5 * * 7", "write 0 or SUN for Sunday"),
        ("0 5 L * *", "cannot read 'L'"),
        ("0 5 * * 1#2", "cannot read '1#2'"),
        ("0 5 15W * *", "cannot read '15W'"),
        ("*/0 5 * * *", "cannot read"),
        ("0 MON * * *", "cannot read 'MON'"),
        ("0 5 30 2 *", "bad day-of-month"),
        ("10-5 5 * * *", "bad minute"),
        ("@daily", "1 fields"),
        ("٣ 5 * * *", "cannot read"),
    ],
)
def test_an_expression_is_refused_when_a_field_is_wrong(text: str, message: str) -> None:
    for read in (kubeflow_cron, vertex_cron):
        with pytest.raises(ConfigError, match=message):
            read(text, "UTC").following(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("zone", ["Europe/Bonn", "../UTC", "", "Europe"])
def test_a_zone_is_refused_when_nobody_keeps_it(zone: str) -> None:
    with pytest.raises(ConfigError, match=r"no such zone; expected a name such as Europe/Berlin"):
        vertex_cron("0 5 * * *", zone)
