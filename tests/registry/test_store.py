"""Versions are added once, whole, and removed by decision; the same in a folder and in a bucket."""

import contextlib

import pytest

from slmrec.artifacts import open_artifact
from slmrec.errors import ArtifactError, ConfigError
from slmrec.registry.store import Registry
from slmrec.registry.versions import Versions
from slmrec.storage.documents import ABSENT
from tests.registry.registries import (
    FACTS,
    VERSION,
    WHEN,
    alter,
    artifact,
    promote,
    roll_back,
    served,
)


def test_a_registry_is_empty_when_nothing_was_written(registry, documents):
    assert registry.production() is registry.candidate() is None
    assert registry.versions() == []
    assert registry.decisions() == []
    assert not registry.exists()
    assert documents.names("versions") == documents.names("decisions") == []


def test_a_version_is_whole_when_it_was_added(registry, add, tmp_path):
    version = add(registry)
    assert version == registry.version(1) == registry.find("1")
    assert registry.exists()
    for name, source in (("model", "model-1"), ("evaluation", "evaluation-1"), ("timings",) * 2):
        assert registry.artifact(1, name).digest == open_artifact(tmp_path / source).digest
    assert version.data == FACTS
    assert registry.document(1, "reference/facts.json") == {
        "sequences_digest": "sequences",
        "interactions": 1000,
        "last": 99,
        "source_digest": "log",
        "log_interactions": 1200,
        "trained_until": 0,
        "order_only": False,
    }
    assert registry.document(1, "reference/nothing.json") == {}
    assert registry.uri(1).endswith("registry/versions/000001")
    assert (version.name, version.code_digest, version.added) == ("int8", "code", WHEN)


def test_a_version_knows_the_files_of_its_source_when_they_were_recorded(
    registry, add, documents, tmp_path
):
    add(registry)
    assert registry.source(1) is None
    model, evaluation, timings = (
        artifact(tmp_path / kind, kind, 7) for kind in ("servable", "evaluation", "timings")
    )
    origin = {"code_digest": "code", "settings_digest": "settings", "time": WHEN}
    files = {"interactions/log.csv": (70, "d")}
    registry.add(model, evaluation, timings, FACTS, **origin, source=files)
    assert registry.source(2) == files
    alter(documents, "versions/000002/reference/source.json", b'{"log": 7}')
    with pytest.raises(
        ArtifactError, match=r"source\.json: not the files of a source \('log' is 7"
    ):
        registry.source(2)


def test_the_registry_does_not_grow_when_the_same_is_added_again(registry, add):
    assert add(registry) == add(registry)
    assert add(registry, evaluation=2).number == 2
    assert add(registry, model=2).number == 3
    assert [version.number for version in registry.versions()] == [1, 2, 3]


def test_the_same_model_is_another_version_when_other_code_made_it(registry, add):
    assert add(registry).number == 1
    assert add(registry, code="other").number == 2


def registered(registry, tmp_path, timings, model=1):
    return registry.add(
        artifact(tmp_path / f"model-{model}", "servable", model),
        artifact(tmp_path / "evaluation-1", "evaluation", 1),
        artifact(tmp_path / f"timings-{timings}", "timings", timings),
        FACTS,
        code_digest="code",
        settings_digest="settings",
        time=f"2026-01-02T03:04:0{timings}+00:00",
    )


def test_two_additions_of_the_same_at_once_are_one_version(registry, documents, tmp_path):
    put_all, others = documents.put_all, []

    def put_and_be_overtaken(files, progress=None):
        put_all(files, progress)
        if not others:
            others.append(None)
            others[:] = [registered(Registry(documents), tmp_path, timings=2)]

    documents.put_all = put_and_be_overtaken
    mine = registered(registry, tmp_path, timings=1)
    assert others == [mine]
    assert mine.added == "2026-01-02T03:04:02+00:00"
    assert [version.number for version in registry.versions()] == [mine.number]
    assert documents.names("versions/000001") == []  # what the slower one had written
    assert registry.artifact(mine.number, "timings").json("content.json") == 2


def test_an_addition_is_finished_by_the_next_when_it_ended_before_its_last_file(
    registry, documents, tmp_path
):
    replace = documents.replace

    def die_at_last(name, content, expected):
        if name.endswith("version.json"):
            raise KeyboardInterrupt
        return replace(name, content, expected)

    documents.replace = die_at_last
    with pytest.raises(KeyboardInterrupt):
        registered(registry, tmp_path, timings=1)
    documents.replace = replace
    assert registry.versions() == []
    finished = registered(registry, tmp_path, timings=2)
    assert (finished.number, finished.added) == (1, "2026-01-02T03:04:01+00:00")
    assert registry.artifact(1, "timings").json("content.json") == 1
    assert [version.number for version in registry.versions()] == [1]


def test_the_same_is_registered_anew_when_its_version_was_pruned(registry, documents, tmp_path):
    registered(registry, tmp_path, timings=1)
    registered(registry, tmp_path, timings=1, model=2)
    assert registry.prune(1, actor="me", time=WHEN) == [1]
    assert registered(registry, tmp_path, timings=1).number == 3


def test_an_origin_that_cannot_be_read_is_named(registry, documents, tmp_path):
    registered(registry, tmp_path, timings=1)
    (name,) = documents.names("origins")
    alter(documents, name, b'{"number": "../1"}')
    documents.remove(["versions/000001/version.json"])
    with pytest.raises(ArtifactError, match=r"origins/\w+\.json: names version '\.\./1'"):
        registered(registry, tmp_path, timings=2)


def test_an_addition_that_was_cut_short_is_no_version_until_it_is_repeated(
    registry, add, documents, cut_short
):
    cut_short(lambda: add(registry))
    assert documents.names("versions/000001/model")
    assert registry.versions() == []
    assert not registry.has(1)
    assert add(registry, model=2).number == 2
    assert add(registry).number == 1
    assert registry.artifact(1, "model").json("content.json") == 1


def test_what_an_addition_left_goes_when_newer_versions_are_kept(
    registry, add, documents, cut_short
):
    cut_short(lambda: add(registry))
    add(registry, model=2)
    assert registry.prune(1, actor="me", time=WHEN) == [1]
    assert documents.names("versions/000001") == []
    assert registry.decisions()[-1].reason == "an addition that was never finished"
    assert add(registry, model=3).number == 3


def test_an_addition_under_way_does_not_serve_when_it_was_pruned(
    registry, add, documents, cut_short
):
    cut_short(lambda: add(registry))  # it has copied a part, and goes on below
    add(registry, model=2)
    remove, others = documents.remove, []

    def remove_late(names):
        if not others:
            others.append("version")
            documents.replace("versions/000001/version.json", VERSION, ABSENT)
        remove(names)

    documents.remove = remove_late
    assert registry.prune(1, actor="me", time=WHEN) == [1]
    with pytest.raises(ArtifactError, match="removed by a pruning"):
        promote(registry, 1, None)
    assert registry.production() is None


def test_what_a_pruning_has_left_is_added_again_under_another_number(
    registry, add, documents, monkeypatch
):
    served(registry, add, 3)

    def die(self, number):
        raise KeyboardInterrupt

    for left in (
        die,
        lambda self, number: documents.remove([f"versions/{number:06d}/version.json"]),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(Versions, "remove", left)
            with contextlib.suppress(KeyboardInterrupt):
                registry.prune(1, actor="me", time=WHEN)
        again = add(registry)
        assert again.number > 3
        registry.propose(again.number, reason="newest", actor="run", time=WHEN)


def test_pruning_keeps_the_way_back_of_a_version_that_was_promoted_twice(registry, add):
    served(registry, add, 1, 2, 2)
    assert registry.prune(1, actor="me", time=WHEN) == []
    assert roll_back(registry).version == 1


def test_what_a_removal_left_behind_goes_with_the_next(registry, add, documents, monkeypatch):
    served(registry, add, 3)

    def die(self, number):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Versions, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            registry.prune(1, actor="me", time=WHEN)
    with pytest.raises(ArtifactError, match="000001: removed by a pruning"):
        promote(registry, 1, 3)
    assert registry.prune(1, actor="me", time=WHEN) == []
    assert documents.names("versions/000001") == documents.names("versions/000002") == []
    assert [one.version for one in registry.decisions() if one.action == "prune"] == [1, 2]


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
    assert registry.prune(2, actor="me", time=WHEN) == []  # no run shall promote 4 again


def test_numbers_of_removed_versions_do_not_come_again(registry, add):
    served(registry, add, 1)
    for model in (2, 3):
        add(registry, model=model)
    registry.prune(1, actor="me", time=WHEN)
    assert add(registry, model=4).number == 4


def test_a_version_that_cannot_be_read_is_named(registry, add, documents):
    add(registry)
    for content in (b"{", b"[]", b'{"number": 1}'):
        alter(documents, "versions/000001/version.json", content)
        with pytest.raises(ArtifactError, match=r"000001/version\.json: .*; restore the registry"):
            registry.version(1)


def test_pruning_keeps_the_candidate(registry, add):
    for model in (1, 2, 3):
        add(registry, model=model)
    registry.propose(1, reason="newest", actor="run", time=WHEN)
    assert registry.prune(1, actor="me", time=WHEN) == [2]
    assert registry.candidate().number == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("candidate", "there is no candidate yet; run the pipeline first"),
        ("newest", "found 'newest', expected 'production', 'candidate' or a number"),
    ],
)
def test_a_version_is_asked_for_by_what_names_one(registry, add, name, message):
    add(registry)
    with pytest.raises(ConfigError, match=message):
        registry.find(name)


def test_a_candidate_is_pointed_to_when_nothing_serves_yet(registry, add):
    add(registry)
    registry.propose(1, reason="newest", actor="run", time=WHEN)
    with pytest.raises(ConfigError, match="no production yet; version 1 is the candidate:"):
        registry.find("production")
