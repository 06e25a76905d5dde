import time
from dataclasses import replace

import numpy as np
import pytest

from slmrec.config import MonitorDrift
from slmrec.drift.examples import Names
from slmrec.drift.monitor import monitor, summarise
from slmrec.drift.thresholds import NAMES, DriftThresholds
from slmrec.drift.verdicts import DRIFT, NOT_ENOUGH_DATA, STABLE, WATCH
from slmrec.errors import ConfigError
from slmrec.progress import Silent

QUICK = MonitorDrift(
    window_share=0.2,
    history_windows=1,
    min_users=20,
    permutations=199,
    false_discovery_rate=0.05,
)
DAY = 86_400


def watch(sequences, thresholds, config=QUICK, production_last=None):
    return monitor(sequences, config, thresholds, production_last, Silent())


def test_alarms_are_rare_when_nothing_changes(make_log, any_effect):
    reports = [watch(make_log(seed), any_effect) for seed in range(200)]
    assert all(len(report.comparisons) == 2 for report in reports)
    drifted = sum(report.verdict == DRIFT for report in reports)
    alarmed = sum(bool(report.comparisons[0].alarms) for report in reports)
    assert drifted <= 10  # 5 %
    # Level 5 % in 200 tries: more than 20 has a chance of about one in a thousand.
    assert alarmed <= 20


def test_newcomers_do_not_seem_to_dwindle_when_the_core_has_not_seen_them_return(
    make_arriving_log, any_effect
):
    # The k-core of such a log holds about a tenth fewer newcomers in its newest window (measured:
    # -.11 over these ten). Seen as on its last day, each window has as many as the one before.
    config = QUICK.model_copy(update={"window_share": 0.1})
    changes = []
    for seed in range(10):
        found = watch(make_arriving_log(seed), any_effect, config).comparisons[0].differences
        newcomers = next(one for one in found if one.name == "new_user_share")
        changes.append(newcomers.current - newcomers.reference)
    assert abs(np.mean(changes)) < 0.05


def test_verdict_is_drift_when_the_shift_is_two_windows_old_and_growing(make_log, any_effect):
    # The windows run from about .6 to .8 and from there to 1. Popularity turns at .7, inside the
    # first: it differs from the one before it, and the newest differs from it again.
    report = watch(make_log(1, shift_at=0.7, users=240), any_effect)
    assert report.verdict == DRIFT
    assert "item_popularity" in report.comparisons[0].alarms & report.comparisons[1].alarms
    assert "item popularity" in report.reason


def test_verdict_is_watch_when_only_the_newest_window_differs(make_log, any_effect):
    report = watch(make_log(1, shift_at=0.82, users=240), any_effect)
    assert report.verdict == WATCH
    assert "item_popularity" in report.comparisons[0].alarms


def odd_from(log, start, end):
    """Between two shares of the time popularity is turned round."""
    span = 1000 * DAY
    inside = (log.timestamps >= start * span) & (log.timestamps < end * span)
    turned = np.where(inside, log.item_count + 1 - log.items, log.items).astype(np.int32)
    return replace(log, items=turned)


def test_an_odd_window_that_has_passed_is_no_drift(make_log, any_effect):
    # Windows of a fifth end at .6, .8 and 1: the odd one differs from both of its neighbours.
    report = watch(odd_from(make_log(1, users=240), 0.62, 0.78), any_effect)
    assert "item_popularity" in report.comparisons[1].alarms
    assert report.verdict != DRIFT


def test_a_change_that_lasts_is_drift_though_its_windows_are_alike(make_log, any_effect):
    report = watch(odd_from(make_log(1, users=240), 0.6, 1.1), any_effect)
    assert report.verdict == DRIFT


def test_verdict_is_stable_when_the_effect_is_below_its_threshold(make_log):
    wide = DriftThresholds(**dict.fromkeys(NAMES, 100.0))
    report = watch(make_log(1, shift_at=0.7, users=240), wide)
    assert report.verdict == STABLE
    assert report.comparisons[0].find("item_popularity")[0].p == 1 / 200


def test_windows_are_compared_with_what_production_saw_when_they_are_newer(make_log, any_effect):
    # Popularity turned at .5 and production saw data up to .45. The newest window (from .85) equals
    # the one before it (from .7); both differ from what the model learned.
    log = make_log(1, shift_at=0.5, users=240)
    config = QUICK.model_copy(update={"window_share": 0.15})
    assert "item_popularity" not in watch(log, any_effect, config).comparisons[0].alarms
    report = watch(log, any_effect, config, production_last=450 * DAY)
    assert report.verdict == DRIFT
    assert all("item_popularity" in found.alarms for found in report.comparisons[:2])
    assert report.comparisons[0].reference.timestamps[-1] <= 450 * DAY


def test_verdict_is_at_most_watch_when_production_learned_part_of_the_window(make_log, any_effect):
    log = make_log(1, shift_at=0.7, users=240)
    assert watch(log, any_effect).verdict == DRIFT
    report = watch(log, any_effect, production_last=950 * DAY)
    assert report.verdict == WATCH
    assert "trained on part of the newest window" in report.reason


def test_verdict_is_not_enough_data_when_a_window_has_too_few_users(make_log, any_effect):
    report = watch(make_log(1), any_effect, QUICK.model_copy(update={"min_users": 121}))
    assert report.verdict == NOT_ENOUGH_DATA
    assert summarise(report, Names())["alarms"] == []


def test_one_comparison_says_at_most_watch_when_the_log_is_three_windows_long(make_log, any_effect):
    config = QUICK.model_copy(update={"window_share": 0.3})
    log = odd_from(make_log(1, users=240), 0.7, 1.1)
    report = watch(log, any_effect, config)
    assert len(report.comparisons) == 1
    assert report.verdict == WATCH


def test_verdict_is_not_enough_data_when_the_log_is_too_short(make_log, any_effect):
    report = watch(make_log(1), any_effect, QUICK.model_copy(update={"window_share": 0.4}))
    assert report.verdict == NOT_ENOUGH_DATA


def test_monitoring_refuses_when_permutations_cannot_raise_an_alarm(make_log, any_effect):
    # 7 statistics at .05: the smallest p-value must reach .05 / 7, which takes 139 permutations.
    with pytest.raises(ConfigError, match=r"found 138.*set at least 139"):
        watch(make_log(1), any_effect, QUICK.model_copy(update={"permutations": 138}))
    watch(make_log(1), any_effect, QUICK.model_copy(update={"permutations": 139}))


def test_alarms_come_by_touched_traffic_when_several_alarm(make_log, any_effect):
    found = summarise(watch(make_log(1, shift_at=0.8, users=240), any_effect), Names())
    shares = [alarm["touched_share"] for alarm in found["alarms"]]
    assert shares == sorted(shares, reverse=True)
    assert found["alarms"][0]["name"] == "item_popularity"
    assert len(found["history"]) == 2
    assert found["history"][-1]["statistics"] == found["statistics"]


def test_what_people_do_comes_before_what_that_does_to_production(make_log, any_effect):
    report = watch(make_log(1, shift_at=0.8, users=240), any_effect)
    (newest, *_), thresholds = report.comparisons, report.thresholds
    popularity = newest.find("item_popularity")[0]
    states = replace(popularity, name="user_states", family="embeddings", touched_share=0.99)
    widened = replace(
        newest,
        differences=(states, *newest.differences),
        alarmed=(True, *newest.alarmed),
    )
    found = summarise(replace(report, comparisons=(widened,), thresholds=thresholds), Names())
    assert found["alarms"][-1]["name"] == "user_states"
    assert found["alarms"][0]["family"] == "data"


def test_the_report_is_the_same_when_it_is_made_twice(make_log, any_effect):
    log = make_log(2)
    assert summarise(watch(log, any_effect), Names()) == summarise(watch(log, any_effect), Names())


def test_a_hundred_thousand_interactions_take_seconds(any_effect):
    from slmrec.data.sequences import Sequences

    rng = np.random.default_rng(0)
    users, length = 5000, 20
    offsets = np.arange(0, users * length + 1, length)
    log = Sequences(
        offsets=offsets,
        items=rng.zipf(1.4, users * length).clip(max=3000).astype(np.int32),
        timestamps=np.sort(rng.integers(0, 10**8, (users, length)), axis=1).ravel(),
        train_end=offsets[1:],
        validation_end=offsets[1:],
        item_count=3000,
    )
    started = time.perf_counter()
    watch(log, any_effect, MonitorDrift())
    assert time.perf_counter() - started < 15  # 2 s on two free cores
