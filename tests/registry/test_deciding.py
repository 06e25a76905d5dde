"""Who decides what, one after another and at once; the same in a folder and in a bucket."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slmrec.errors import ArtifactError, ConfigError, RegistryConflict
from slmrec.registry.store import Registry
from tests.registry.registries import (
    WHEN,
    alter,
    promote,
    roll_back,
    served,
)
from tests.storage.cloud import serve_bucket


def test_a_run_does_not_pass_a_person_who_rejects_meanwhile(registry, add, documents):
    served(registry, add, 1)
    add(registry, model=2)
    registry.propose(2, reason="newest", actor="run", time=WHEN)
    seen = registry.channels().taken_back
    read, others = documents.read, []

    def read_and_be_overtaken(name):
        found = read(name)
        if name == "channels.json" and not others:
            others.append("rejection")
            registry.reject(2, reason="dull", actor="ann", time=WHEN)
        return found

    documents.read = read_and_be_overtaken
    with pytest.raises(RegistryConflict, match="somebody rejected a version"):
        registry.promote(2, 1, reason="r", actor="run", time=WHEN, taken_back=seen)
    assert registry.production().number == 1
    assert registry.channels().taken_back == (2,)


def test_an_overtaken_promotion_reads_the_model_once(registry, add, documents):
    add(registry)
    read, fetch, others, fetched = documents.read, documents.fetch, [], []

    def read_and_be_overtaken(name):
        found = read(name)
        if name == "channels.json" and len(others) < 3:
            others.append(len(others))
            registry.refuse(None, reason=f"{len(others)}", actor="x", time=WHEN, evidence={})
        return found

    documents.read = read_and_be_overtaken
    documents.fetch = lambda folder, progress: (fetched.append(folder), fetch(folder))[1]
    promote(registry, 1, None)
    assert fetched == ["versions/000001/model"]


def test_a_promotion_is_told_as_done_when_its_answer_was_lost_and_somebody_decided_since(
    registry, add, documents
):
    add(registry)
    replace, others = documents.replace, []

    def replace_and_be_overtaken(name, content, expected):
        done = replace(name, content, expected)
        if name != "channels.json" or others:
            return done
        others.append("request")
        registry.ask_retraining(reason="season", actor="ann", time=WHEN)
        return False

    documents.replace = replace_and_be_overtaken
    made = promote(registry, 1, None)
    assert [decision.action for decision in registry.decisions()] == ["promote", "retrain"]
    assert registry.decisions()[0] == made


def test_a_promotion_is_a_conflict_when_another_one_that_says_the_same_came_first(
    registry, add, documents
):
    add(registry)
    replace, others = documents.replace, []

    def be_overtaken(name, content, expected):
        if name == "channels.json" and not others:
            others.append("the same")
            promote(registry, 1, None)
        return replace(name, content, expected)

    documents.replace = be_overtaken
    with pytest.raises(RegistryConflict, match="production is version 1, expected no version"):
        promote(registry, 1, None)
    assert len(registry.decisions()) == 1


def test_a_request_that_came_after_a_run_began_is_not_its_to_answer(registry, add):
    add(registry)
    later = "2026-01-02T04:00:00+00:00"
    registry.ask_retraining(reason="season", actor="ann", time=later)
    registry.propose(1, reason="newest", actor="run", time=later, began=WHEN)
    assert registry.channels().request.reason == "season"
    registry.propose(1, reason="newest", actor="run", time=later, began=later)
    assert registry.channels().request is None


def test_a_refusal_that_a_crash_kept_from_the_log_is_recorded_once(registry, add, crash):
    add(registry)

    def refuse():
        return registry.refuse(1, reason="slow", actor="me", time=WHEN, evidence={})

    crash(refuse)
    refuse()
    assert [one.action for one in registry.decisions()] == ["refuse"]


def test_the_pointer_moves_and_back_when_versions_are_promoted(registry, add):
    add(registry)
    add(registry, model=2)
    promote(registry, 1, None)
    promote(registry, 2, 1)
    assert registry.production().number == 2
    promote(registry, 1, 2)  # rolled back
    assert registry.production().number == 1
    moves = [(decision.previous, decision.version) for decision in registry.decisions()]
    assert moves == [(None, 1), (1, 2), (2, 1)]
    newest = registry.decisions()[-1]
    assert (newest.reason, newest.actor, newest.time) == ("better", "me", WHEN)


def test_promotion_is_refused_when_somebody_moved_the_pointer(registry, add):
    add(registry)
    add(registry, model=2)
    promote(registry, 1, None)
    with pytest.raises(RegistryConflict, match=r"production is version 1, expected no version"):
        promote(registry, 2, None)
    assert registry.production().number == 1
    assert len(registry.decisions()) == 1


def test_promotion_fails_when_there_is_no_such_version(registry, add):
    add(registry)
    with pytest.raises(ArtifactError, match=r"000007/version\.json: missing"):
        promote(registry, 7, None)
    assert registry.production() is None


def test_promotion_fails_when_the_model_was_altered(registry, add, documents):
    add(registry)
    alter(documents, "versions/000001/model/content.json", b"2\n")
    with pytest.raises(ArtifactError, match=r"content\.json: SHA-256"):
        promote(registry, 1, None)
    assert registry.production() is None


def test_a_refusal_is_recorded_once_when_it_is_repeated(registry):
    def refuse(reason, time):
        return registry.refuse(1, reason=reason, actor="me", time=time, evidence={"model": "m"})

    refuse("too slow", "monday")
    refuse("too slow", "tuesday")
    refuse("too big", "wednesday")
    assert [(d.reason, d.time) for d in registry.decisions()] == [
        ("too slow", "monday"),
        ("too big", "wednesday"),
    ]


def test_a_decision_that_cannot_be_read_is_named(registry, add, documents):
    served(registry, add, 1)
    alter(documents, "decisions/00000001-promote.json", b'{"action": "ref')
    with pytest.raises(ArtifactError, match=r"00000001-promote\.json: not a decision"):
        registry.decisions()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"{", "not the channels of a registry"),
        (b"{}", r"not the channels of a registry \(candidate: Field required\)"),
        (b"[]", "not the channels of a registry"),
        (b'{"production": 1}', "not the channels of a registry"),
        (
            b'{"production": "1", "newest": [], "served": [], "taken_back": [], "removed": [], '
            b'"request": null, "snooze": null}',
            r"not the channels of a registry \(production: Input should be a valid integer",
        ),
    ],
)
def test_channels_that_cannot_be_read_are_named(registry, add, documents, content, found):
    served(registry, add, 1)
    alter(documents, "channels.json", content)
    with pytest.raises(ArtifactError, match=f"channels.json: {found}"):
        registry.production()


def test_the_candidate_is_what_was_proposed_last(registry, add):
    served(registry, add, 1)
    add(registry, model=2)

    def propose(number):
        return registry.propose(number, reason="newest", actor="run", time=WHEN)

    assert propose(2) == registry.candidate() == registry.find("candidate")
    propose(2)
    assert registry.production().number == 1
    assert propose(1) == registry.candidate() == registry.find("production")
    with pytest.raises(ArtifactError, match="missing"):
        propose(7)
    proposed = [one for one in registry.decisions() if one.action == "propose"]
    assert [(one.version, one.actor) for one in proposed] == [(2, "run"), (1, "run")]


def test_a_rejected_candidate_is_none_and_is_remembered(registry, add):
    served(registry, add, 1)
    add(registry, model=2)
    registry.propose(2, reason="newest", actor="run", time=WHEN)

    def reject(number):
        return registry.reject(
            number, reason="too many repeats", actor="ann", time=WHEN, evidence={"drift": "d"}
        )

    made = reject(2)
    assert (made.action, made.version, made.evidence) == ("reject", 2, {"drift": "d"})
    assert registry.candidate() is None
    assert registry.channels().taken_back == (2,)
    assert reject(2) is None
    with pytest.raises(RegistryConflict, match="version 1 serves; roll back instead"):
        reject(1)
    promote(registry, 2, 1)  # somebody thought better of it
    assert registry.channels().taken_back == ()
    assert [one.action for one in registry.decisions()] == [
        "promote",
        "propose",
        "reject",
        "promote",
    ]


def test_a_request_to_train_lasts_until_a_run_has_a_candidate(registry, add):
    served(registry, add, 1)

    def ask():
        return registry.ask_retraining(reason="new season", actor="ann", time=WHEN)

    assert ask().version is None
    assert ask() is None
    assert registry.channels().request.reason == "new season"
    registry.propose(1, reason="newest", actor="run", time=WHEN)
    assert registry.channels().request is None
    assert ask().number == 4


def test_a_snooze_ends_at_its_moment(registry):
    def snooze(until):
        return registry.snooze(until, reason="a sale", actor="ann", time=WHEN)

    until = "2026-02-01T00:00:00+00:00"
    assert snooze(until).until == until
    assert snooze(until) is None
    channels = registry.channels()
    assert channels.snoozed(datetime(2026, 1, 31, 23, 59, tzinfo=UTC)).reason == "a sale"
    assert channels.snoozed(datetime(2026, 2, 1, tzinfo=UTC)) is None
    assert snooze("2026-01-15T00:00:00+00:00") is not None  # a shorter one replaces it
    for malformed in ("tomorrow", "2026-02-01", "2026-02-01T00:00:00"):
        with pytest.raises(ConfigError, match="expected a moment with its time zone"):
            snooze(malformed)


def test_a_refusal_in_between_is_no_conflict_for_a_promotion(registry, add, documents):
    add(registry)
    read, others = documents.read, []

    def read_and_be_overtaken(name):
        found = read(name)
        if name == "channels.json" and not others:
            others.append("refusal")
            registry.refuse(None, reason="slow", actor="other", time=WHEN, evidence={})
        return found

    documents.read = read_and_be_overtaken
    assert promote(registry, 1, None).number == 2
    assert [one.action for one in registry.decisions()] == ["refuse", "promote"]


def test_a_promotion_in_between_is_a_conflict_for_a_rollback(registry, add, documents):
    served(registry, add, 1, 2)
    read, others = documents.read, []

    def read_and_be_overtaken(name):
        found = read(name)
        if name == "channels.json" and not others:
            others.append("promotion")
            promote(registry, 1, 2)
        return found

    documents.read = read_and_be_overtaken
    with pytest.raises(RegistryConflict, match="was version 2 and became version 1 meanwhile"):
        roll_back(registry)
    assert registry.production().number == 1


RACER = """
import sys, time
from pathlib import Path
from slmrec.errors import RegistryConflict
from slmrec.registry.store import Registry

folder, place, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
registry = Registry(place)
(folder / f"ready-{number}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
try:
    registry.promote(number, None, reason="r", actor="a", time="t")
except RegistryConflict as error:
    print("conflict:", error)
else:
    print("won")
"""


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_one_of_two_processes_wins_when_both_promote_at_once(where, add, tmp_path, monkeypatch):
    with serve_bucket("models") as (_, address):
        if where == "bucket":  # the client's own way to say where the service is
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        place = "gs://models/registry" if where == "bucket" else str(tmp_path / "registry")
        registry = Registry(place)
        add(registry)
        add(registry, model=2)
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACER, str(tmp_path), place, str(number)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in (1, 2)
        ]
        while len(list(Path(tmp_path).glob("ready-*"))) < 2:
            assert all(racer.poll() is None for racer in racers)
        (tmp_path / "go").touch()
        said = [racer.communicate(timeout=60)[0].strip() for racer in racers]
        winner = said.index("won") + 1
        assert said[2 - winner].startswith("conflict:")
        assert f"production is version {winner}" in said[2 - winner]
        assert registry.production().number == winner
        assert [decision.version for decision in registry.decisions()] == [winner]
