"""The way back: what served before, further each time, never forward."""

import pytest

from slmrec.errors import ArtifactError, RegistryConflict
from tests.registry.registries import (
    WHEN,
    alter,
    promote,
    roll_back,
    served,
)


def test_a_rollback_goes_further_back_each_time_and_never_forward(registry, add):
    served(registry, add, 1, 3, 2)
    assert roll_back(registry).version == 3
    assert roll_back(registry).version == 1
    assert registry.production().number == 1
    with pytest.raises(RegistryConflict, match="version 1 and nothing served before it"):
        roll_back(registry)
    moves = [(one.action, one.previous, one.version) for one in registry.decisions()]
    assert moves[3:] == [("rollback", 2, 3), ("rollback", 3, 1)]


def test_a_repeated_rollback_changes_nothing_when_it_names_what_served(registry, add):
    served(registry, add, 1, 3, 2)
    evidence = {"drift": "d1"}
    meant = {"reason": "complaints", "actor": "me", "time": WHEN, "expected_current": 2}
    assert registry.rollback(**meant, evidence=evidence).evidence == evidence
    with pytest.raises(RegistryConflict, match="was version 2 and became version 3 meanwhile"):
        registry.rollback(**meant)
    assert registry.production().number == 3
    assert len(registry.decisions()) == 4


def test_a_rollback_after_a_rollback_and_a_promotion_skips_what_was_taken_back(registry, add):
    served(registry, add, 1, 2)
    roll_back(registry)
    add(registry, model=3)
    promote(registry, 3, 1)
    assert roll_back(registry).version == 1


def test_a_version_that_served_twice_gives_way_to_what_served_between(registry, add):
    served(registry, add, 1, 2, 1)
    assert roll_back(registry).version == 2


def test_there_is_no_way_back_when_nothing_was_promoted(registry, add):
    add(registry)
    with pytest.raises(RegistryConflict, match="production is no version"):
        roll_back(registry)


def test_a_rollback_fails_when_the_earlier_model_is_gone(registry, add, documents):
    served(registry, add, 1, 2)
    alter(documents, "versions/000001/model/content.json", b"2\n")
    with pytest.raises(ArtifactError, match=r"content\.json: SHA-256"):
        roll_back(registry)
    assert registry.production().number == 2


def test_a_rollback_that_was_cut_short_does_not_go_forward_when_it_is_repeated(
    registry, add, crash
):
    served(registry, add, 1, 2)
    crash(lambda: roll_back(registry))
    assert registry.production().number == 1
    with pytest.raises(RegistryConflict, match="nothing served before it"):
        roll_back(registry)
    assert [one.action for one in registry.decisions()] == ["promote", "promote", "rollback"]


def test_a_promotion_that_was_cut_short_is_still_on_the_way_back(registry, add, crash):
    served(registry, add, 1)
    add(registry, model=2)
    add(registry, model=3)
    crash(lambda: promote(registry, 2, 1))
    promote(registry, 3, 2)
    assert registry.prune(1, actor="me", time=WHEN) == [1]
    assert roll_back(registry).version == 2


def test_what_a_rollback_took_back_is_known_until_somebody_promotes_it(registry, add):
    served(registry, add, 1, 2)
    assert set(registry.channels().taken_back) == set()
    roll_back(registry)
    assert set(registry.channels().taken_back) == {2}
    promote(registry, 2, 1)
    assert set(registry.channels().taken_back) == set()
