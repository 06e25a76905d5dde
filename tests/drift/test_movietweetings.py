"""A real log whose drift is known: films that are new in cinemas take over month by month."""

import gzip
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from slmrec.config import MonitorDrift
from slmrec.data.sequences import Sequences
from slmrec.drift.examples import Names
from slmrec.drift.log_statistics import compare_logs
from slmrec.drift.monitor import monitor, summarise, which_alarm
from slmrec.drift.thresholds import DriftThresholds
from slmrec.drift.verdicts import DRIFT
from slmrec.drift.windows import timeline, window_until
from slmrec.policy import load_policy
from slmrec.progress import Silent
from tests.conftest import ROOT

THRESHOLDS = load_policy(ROOT / "validation" / "drift.yaml", DriftThresholds)


def end_of(month):
    return int(datetime(2013, month + 1, 1, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def log(real_data):
    path = real_data / "movietweetings" / "ratings_2013-11-06.dat.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    rows = [line.split("::") for line in text.splitlines()]
    return pl.DataFrame(
        {
            "user": [row[0] for row in rows],
            "item": [row[1] for row in rows],
            "time": [int(row[3]) for row in rows],
        }
    ).sort("user", "time")


def sequences(log):
    users = log["user"].rank("dense").to_numpy().astype(np.int64) - 1
    items = log["item"].rank("dense").to_numpy().astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users))]).astype(np.int64)
    return Sequences(
        offsets=offsets,
        items=items,
        timestamps=log["time"].to_numpy(),
        train_end=offsets[1:],
        validation_end=offsets[1:],
        item_count=int(items.max()),
    )


def test_a_model_of_march_has_drifted_away_by_june_and_new_films_are_the_first_cause(log):
    seen = log.filter(pl.col("time") < end_of(3))
    so_far = log.filter(pl.col("time") < end_of(6))
    config = MonitorDrift(window_share=len(seen) / 2 / len(so_far), history_windows=1)
    report = monitor(sequences(so_far), config, THRESHOLDS, end_of(3) - 1, Silent())
    assert report.verdict == DRIFT
    assert summarise(report, Names())["alarms"][0]["name"] == "new_item_share"


def test_two_random_halves_of_a_months_people_do_not_alarm(log):
    month = log.filter((pl.col("time") >= end_of(3)) & (pl.col("time") < end_of(4)))
    people = month["user"].unique().sort()
    config = MonitorDrift()
    alarmed = []
    for seed in range(5):
        lot = np.random.default_rng(seed).permutation(len(people))
        first = people.gather(np.sort(lot[: len(people) // 2]))
        halves = [
            month.filter(pl.col("user").is_in(first.implode()) == side) for side in (True, False)
        ]
        moved = halves[1].with_columns(pl.col("time") + 40 * 86_400)  # one after the other
        both = timeline(sequences(pl.concat([halves[0], moved]).sort("user", "time")), seed)
        new = window_until(both, len(both.items), min(len(one) for one in halves) // 2)
        old = window_until(both, both.before(int(halves[0]["time"].max())), len(new.items))
        found = compare_logs(
            old,
            new,
            permutations=config.permutations,
            max_users=config.max_users,
            rng=np.random.default_rng(seed),
        )
        found = [one for one in found if one.name != "interactions_per_day"]
        alarmed.append(any(which_alarm(found, config.false_discovery_rate, THRESHOLDS)))
    assert sum(alarmed) <= 1
