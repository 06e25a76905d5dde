from dataclasses import replace

import pytest

from slmrec.config import DecideRetraining
from slmrec.data.listing import Listing
from slmrec.registry.channels import Channels
from slmrec.triggers.reasons import SeenSource, reasons
from tests.triggers.facts import FILES, asked, finding, grown, snoozed, unchanged, version

NAMES = ["forced", "no production", "request", "drift", "data", "code", "settings"]
LATER, OVER = "2026-03-02T00:00:00+00:00", "2026-02-28T00:00:00+00:00"
NOBODY = {"channels": Channels(), "production": None, "newest": None, "seen": ()}
UNRECORDED = (SeenSource("version 3 was trained", "old", None),)
RUN = SeenSource("run slmrec-trigger-1 was started", "with 60 more", grown(60).files)


def holding(facts):
    found = reasons(facts)
    assert [reason.name for reason in found] == NAMES
    assert all(bool(reason.key) == (reason.holds is True) for reason in found)
    return [reason.name for reason in found if reason.holds]


def why(facts, name):
    (reason,) = (reason for reason in reasons(facts) if reason.name == name)
    return reason.holds, reason.why


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"forced": "release 2"}, ["forced"]),
        (NOBODY, ["no production"]),
        ({"channels": asked()}, ["request"]),
        ({"drift": finding()}, ["drift"]),
        ({"source": grown(50)}, ["data"]),  # 50 of 1,000 bytes
        ({"source": grown(49)}, []),
        ({"code_digest": "other"}, ["code"]),
        ({"settings_digest": "other"}, ["settings"]),
        # Together, always in the same order.
        ({**NOBODY, "forced": "x", "code_digest": "other"}, ["forced", "no production"]),
        (
            {"drift": finding(), "source": grown(400), "code_digest": "other"},
            ["drift", "data", "code"],
        ),
        # A snooze keeps drift and data from being reasons, and nothing else.
        (
            {
                "channels": snoozed(LATER, asked()),
                "drift": finding(),
                "source": grown(400),
                "code_digest": "o",
                "settings_digest": "o",
                "forced": "x",
            },
            ["forced", "request", "code", "settings"],
        ),
        ({"channels": snoozed(OVER), "drift": finding(), "source": grown(50)}, ["drift", "data"]),
        # What is known of drift may be older than what serves, or answered by the run itself.
        ({"drift": finding(started="2026-02-01T00:00:00+00:00")}, []),
        ({"drift": finding(trained=True)}, []),
        ({"drift": finding(production=3)}, ["drift"]),
        ({"drift": finding(production=2)}, []),
        ({"drift": finding(verdict="watch")}, []),
        ({"drift": finding(started="yesterday")}, []),
        # Switches of the decision inside the run: it would not train for these.
        ({"policy": DecideRetraining(on_drift=False), "drift": finding()}, []),
        ({"policy": DecideRetraining(on_code_change=False), "code_digest": "other"}, []),
    ],
)
def test_a_reason_holds_when_its_facts_say_so(changes, expected):
    assert holding(unchanged(**changes)) == expected


def test_data_are_unknown_when_nobody_can_see_or_has_recorded_them():
    assert why(unchanged(source=None), "data") == (
        None,
        "the source cannot be seen from this machine",
    )
    assert why(unchanged(seen=UNRECORDED, source=grown(900)), "data") == (
        None,
        "it changed, and nobody recorded its files when version 3 was trained",
    )
    # The digest was recorded: nothing changed, and that is known.
    assert why(unchanged(seen=UNRECORDED), "data")[0] is False
    assert why(unchanged(), "drift") == (None, "no --summary of a run says")


def test_the_change_is_told_with_what_is_needed():
    assert why(unchanged(source=grown(49)), "data") == (
        False,
        "4.9% of the source changed since version 3 was trained, needed are 5.0%",
    )
    assert why(unchanged(source=grown(200)), "data") == (
        True,
        "20.0% of the source changed since version 3 was trained",
    )
    assert why(unchanged(channels=snoozed(LATER), source=grown(200)), "data") == (
        False,
        "20.0% of the source changed since version 3 was trained; ignored until "
        f"{LATER} for bob: a sale",
    )


def test_data_are_no_reason_when_objects_were_written_again_as_they_were():
    assert why(unchanged(source=Listing("other generations", FILES)), "data") == (
        False,
        "the source holds what it held when version 3 was trained",
    )


def test_data_are_compared_with_whoever_saw_most_of_them():
    seen = (*unchanged().seen, RUN)
    # 110 bytes more than version 3 saw, 50 more than the 1,060 that the run saw: 4.7 %.
    assert why(unchanged(seen=seen, source=grown(110)), "data") == (
        False,
        "4.7% of the source changed since run slmrec-trigger-1 was started, needed are 5.0%",
    )
    assert holding(unchanged(seen=seen, source=grown(113))) == ["data"]  # 53 of 1,060
    assert holding(unchanged(seen=(*UNRECORDED, RUN), source=grown(113))) == ["data"]


@pytest.mark.parametrize("name", ["code", "settings"])
def test_a_digest_is_no_reason_when_the_newest_version_was_trained_with_it(name):
    digest = {f"{name}_digest": "other"}
    refused = version(4, **digest)
    assert holding(unchanged(newest=refused, **digest)) == []
    assert holding(unchanged(newest=refused)) == []  # production's own
    assert holding(unchanged(newest=refused, **{f"{name}_digest": "third"})) == [name]


def test_keys_are_the_same_when_what_a_reason_rests_on_is():
    def keys(facts):
        return {reason.name: reason.key for reason in reasons(facts) if reason.holds}

    whole = unchanged(
        forced="release", channels=asked(), drift=finding(), source=grown(200), code_digest="b"
    )
    before = keys(whole)
    assert len(set(before.values())) == 5
    assert keys(replace(whole, now=whole.now.replace(day=9))) == before
    other_text = keys(replace(whole, forced="another"))
    other_run = keys(replace(whole, drift=finding(run="r8")))
    other_request = keys(replace(whole, channels=asked(number=11)))
    more_data = keys(replace(whole, source=grown(300)))
    newly_served = replace(whole, production=version(4), newest=version(4))
    for changed, names in (
        (other_text, {"forced"}),
        (other_run, {"drift"}),
        (other_request, {"request"}),
        (more_data, {"forced", "data"}),
        (keys(newly_served), {"data", "code"}),
        (keys(replace(whole, code_digest="c")), {"forced", "code"}),
    ):
        assert {name for name, key in changed.items() if key != before[name]} == names


def test_a_first_run_is_the_same_when_little_came_meanwhile():
    def key(source):
        (reason,) = (
            r for r in reasons(unchanged(**{**NOBODY, "seen": (RUN,)}, source=source)) if r.holds
        )
        return reason.key

    # The run saw 1,060 bytes; a twentieth more is another reason to try for a first model.
    assert key(grown(60)) == key(grown(112)) != key(grown(113))
