import json
import subprocess
import sys
from pathlib import Path

import pytest

from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.decision_log import DecisionLog
from slmrec.errors import ArtifactError, RegistryConflict
from slmrec.registry import DataFacts, Registry

FACTS = DataFacts(
    sequences_digest="sequences",
    interactions=1000,
    last=99,
    source_digest="log",
    log_interactions=1200,
)
WHEN = "2026-01-02T03:04:05+00:00"


def artifact(path, kind, content):
    with publish(path, kind, properties={"name": "int8"}) as directory:
        write_json(directory / "content.json", content)
    return open_artifact(path)


@pytest.fixture
def add(tmp_path):
    def add(registry, model=1, evaluation=1, code="code"):
        return registry.add(
            artifact(tmp_path / f"model-{model}", "servable", model),
            artifact(tmp_path / f"evaluation-{evaluation}", "evaluation", evaluation),
            artifact(tmp_path / "timings", "timings", 0),
            FACTS,
            code_digest=code,
            settings_digest="settings",
            time=WHEN,
        )

    return add


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


def promote(registry, version, expected):
    return registry.promote(version, expected, reason="better", actor="me", time=WHEN)


def test_a_registry_is_empty_when_its_folder_is_not_there(registry):
    assert registry.production() is None
    assert registry.versions() == []
    assert registry.decisions() == []
    assert not registry.path.exists()


def test_a_version_is_whole_when_it_was_added(registry, add, tmp_path):
    version = add(registry)
    assert version == registry.version(1)
    assert version.path == registry.path / "versions" / "000001"
    for name, source in (("model", "model-1"), ("evaluation", "evaluation-1"), ("timings",) * 2):
        assert open_artifact(version.path / name).digest == open_artifact(tmp_path / source).digest
    assert version.data == FACTS
    assert json.loads((version.path / "reference" / "facts.json").read_text()) == {
        "sequences_digest": "sequences",
        "interactions": 1000,
        "last": 99,
        "source_digest": "log",
        "log_interactions": 1200,
    }
    assert (version.name, version.code_digest, version.added) == ("int8", "code", WHEN)


def test_the_registry_does_not_grow_when_the_same_is_added_again(registry, add):
    assert add(registry) == add(registry)
    assert add(registry, evaluation=2).number == 2
    assert add(registry, model=2).number == 3
    assert [version.number for version in registry.versions()] == [1, 2, 3]


def test_the_same_model_is_another_version_when_other_code_made_it(registry, add):
    assert add(registry).number == 1
    assert add(registry, code="other").number == 2


def test_a_half_written_line_does_not_block_the_next_refusal(registry, add):
    add(registry)
    registry.promote(1, None, reason="r", actor="a", time=WHEN)
    with (registry.path / "decisions.jsonl").open("a") as stream:
        stream.write('{"action": "refu')
    made = registry.refuse(1, reason="worse", actor="a", time=WHEN, evidence={})
    lines = (registry.path / "decisions.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["reason"] == made.reason == "worse"


def test_an_interrupted_addition_is_no_version_when_it_left_files(registry, add):
    left = registry.path / "versions" / ".partial-000001"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    assert registry.versions() == []
    assert add(registry).number == 1
    assert not left.exists()


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
    pointer = json.loads((registry.path / "channels" / "production.json").read_text())
    assert (pointer["reason"], pointer["actor"], pointer["time"]) == ("better", "me", WHEN)


def roll_back(registry):
    return registry.rollback(reason="complaints", actor="me", time=WHEN)


def served(registry, add, *numbers):
    """Promote versions one after another."""
    for model in range(1, max(numbers) + 1):
        add(registry, model=model)
    before = None
    for number in numbers:
        promote(registry, number, before)
        before = number


def test_a_rollback_goes_further_back_each_time_and_never_forward(registry, add):
    served(registry, add, 1, 3, 2)
    assert roll_back(registry).version == 3
    assert roll_back(registry).version == 1
    assert registry.production().number == 1
    with pytest.raises(RegistryConflict, match="version 1 and nothing served before it"):
        roll_back(registry)
    moves = [(one.action, one.previous, one.version) for one in registry.decisions()]
    assert moves[3:] == [("rollback", 2, 3), ("rollback", 3, 1)]


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


def test_a_rollback_fails_when_the_earlier_model_is_gone(registry, add):
    served(registry, add, 1, 2)
    (registry.version(1).path / "model" / "content.json").write_text("2\n")
    with pytest.raises(ArtifactError, match=r"model/content\.json"):
        roll_back(registry)
    assert registry.production().number == 2


@pytest.fixture
def crash(monkeypatch):
    """Lets the next decision move the pointer and then end before it is logged."""

    def crash(call):
        def die(self, decision):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(DecisionLog, "append", die)
            with pytest.raises(KeyboardInterrupt):
                call()

    return crash


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
    assert registry.taken_back() == set()
    roll_back(registry)
    assert registry.taken_back() == {2}
    promote(registry, 2, 1)
    assert registry.taken_back() == set()


def test_pruning_keeps_the_way_back_of_a_version_that_was_promoted_twice(registry, add):
    served(registry, add, 1, 2, 2)
    assert registry.prune(1, actor="me", time=WHEN) == []
    assert roll_back(registry).version == 1


def test_what_a_removal_left_behind_goes_with_the_next(registry, add, monkeypatch):
    served(registry, add, 3)
    with monkeypatch.context() as patched:
        patched.setattr(
            "slmrec.registry.shutil.rmtree", lambda path: (_ for _ in ()).throw(OSError)
        )
        with pytest.raises(OSError):  # noqa: PT011
            registry.prune(1, actor="me", time=WHEN)
    assert list((registry.path / "versions").glob(".removed-*"))
    assert registry.prune(1, actor="me", time=WHEN) == [2]
    assert not list((registry.path / "versions").glob(".removed-*"))


def test_something_has_to_be_kept(registry):
    with pytest.raises(ValueError, match="keep is 0, expected at least 1"):
        registry.prune(0, actor="me", time=WHEN)


def test_pruning_keeps_the_newest_production_and_the_way_back(registry, add):
    served(registry, add, 2, 4)
    for model in range(5, 9):
        add(registry, model=model)
    assert registry.prune(2, actor="me", time=WHEN) == [1, 3, 5, 6]
    assert [version.number for version in registry.versions()] == [2, 4, 7, 8]
    gone = [one for one in registry.decisions() if one.action == "prune"]
    assert [one.version for one in gone] == [1, 3, 5, 6]
    assert gone[0].reason == "only the newest 2 versions are kept"
    assert roll_back(registry).version == 2
    assert registry.prune(2, actor="me", time=WHEN) == [4]
    assert not list((registry.path / "versions").glob(".removed-*"))


def test_numbers_of_removed_versions_do_not_come_again(registry, add):
    served(registry, add, 1)
    for model in (2, 3):
        add(registry, model=model)
    registry.prune(1, actor="me", time=WHEN)
    assert add(registry, model=4).number == 4


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


def test_promotion_fails_when_the_model_was_altered(registry, add):
    version = add(registry)
    (version.path / "model" / "content.json").write_text("2\n")
    with pytest.raises(ArtifactError, match=r"model/content\.json"):
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


def test_a_half_written_line_is_named_when_decisions_are_read(registry, add):
    add(registry)
    promote(registry, 1, None)
    log = registry.path / "decisions.jsonl"
    whole = log.read_text()
    log.write_text(whole + '{"action": "ref')
    with pytest.raises(ArtifactError, match=r"decisions\.jsonl, line 2: not a decision"):
        registry.decisions()
    promote(registry, 1, 1)  # the next line does not join the broken one
    lines = log.read_text().splitlines()
    assert [lines[1], json.loads(lines[2])["version"]] == ['{"action": "ref', 1]


RACER = """
import sys, time
from pathlib import Path
from slmrec.errors import RegistryConflict
from slmrec.registry import Registry

folder, number = Path(sys.argv[1]), int(sys.argv[2])
(folder / f"ready-{number}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
try:
    Registry(folder / "registry").promote(number, None, reason="r", actor="a", time="t")
except RegistryConflict as error:
    print("conflict:", error)
else:
    print("won")
"""


def test_one_of_two_processes_wins_when_both_promote_at_once(registry, add, tmp_path):
    add(registry)
    add(registry, model=2)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), str(number)],
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
