from dataclasses import replace

import pytest

from slmrec.config import DecideRetraining
from slmrec.drift.retraining import decide, new_since
from slmrec.registry.decisions import Decision
from slmrec.registry.versions import DataFacts, Version

PRODUCTION = Version(
    number=3,
    name="int8",
    model_digest="m",
    evaluation_digest="e",
    code_digest="code-a",
    settings_digest="settings-a",
    data=DataFacts(sequences_digest="s", interactions=1000, last=100),
    added="2026-01-01",
)


def ask(
    verdict="stable",
    production=PRODUCTION,
    new=0,
    code="code-a",
    settings="settings-a",
    known=1.0,
    force=False,
    config=None,
    **said,
):
    config = config or DecideRetraining()
    return decide(verdict, production, new, code, settings, known, force, config, **said)


def said(action, **more):
    return Decision(9, action, None, 3, "new season", "ann", "2026-01-01T00:00:00+00:00", **more)


SNOOZE = said("snooze", until="2026-02-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"force": True, "production": None}, "forced"),
        ({"production": None, "verdict": "drift"}, "no production model"),
        ({"request": said("retrain"), "code": "code-b"}, "ann asked for it: new season"),
        ({"code": "code-b", "verdict": "drift", "new": 900}, "code changed"),
        ({"settings": "settings-b", "known": 0.0, "verdict": "drift"}, "settings are not those"),
        ({"known": 0.49, "verdict": "drift", "new": 900}, "only 49% of the interactions"),
        ({"verdict": "drift", "new": 900}, "drifted"),
        ({"new": 50}, "5.0% of the 1,000"),
        ({"new": 50, "snooze": SNOOZE}, "5.0% of the 1,000"),
    ],
)
def test_the_first_reason_wins_when_several_hold(given, word):
    decision = ask(**given)
    assert decision.retrain
    assert word in decision.reason


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"new": 49},
        {"verdict": "watch"},
        {"verdict": "not enough data"},
        {"code": ""},
        {"settings": ""},
        {"known": 0.5},
        {"code": "code-b", "config": DecideRetraining(on_code_change=False)},
        {"verdict": "drift", "config": DecideRetraining(on_drift=False)},
        {"config": DecideRetraining(min_new_share=0.0)},
        {"verdict": "drift", "snooze": SNOOZE},
    ],
)
def test_there_is_no_training_when_no_reason_holds(given):
    decision = ask(**given)
    assert not decision.retrain
    assert "are new since version 3" in decision.reason


def test_a_snooze_is_said_where_drift_is_ignored():
    reason = ask(verdict="drift", snooze=SNOOZE).reason
    assert reason.endswith("'drift', ignored until 2026-02-01T00:00:00+00:00 for ann")


def test_new_interactions_are_those_after_the_moment(make_sequences_from_events):
    log = make_sequences_from_events([(0, 99, 1), (0, 100, 1), (0, 101, 1), (1, 300, 1)], 1)
    assert new_since(log, DataFacts("s", 3, last=100)) == 2


@pytest.mark.parametrize(("seen", "new"), [(3, 1), (4, 0), (5, 0)])
def test_new_interactions_are_those_more_where_times_are_positions(
    make_sequences_from_events, seen, new
):
    log = make_sequences_from_events([(0, 0, 1), (0, 1, 1), (0, 2, 1), (1, 0, 1)], 1)
    assert new_since(replace(log, order_only=True), DataFacts("s", seen, last=2)) == new
