import json
import os
from pathlib import Path

import pytest

from slmrec.artifacts import MANIFEST, canonical_json, open_artifact, publish, write_json
from slmrec.errors import ArtifactError


def make(place: Path, text: str = "hello", **changes: object) -> Path:
    with publish(place, "thing", config="{}", properties={"n": 1}) as staging:
        write_json(staging / "content.json", {"text": text, **changes})
        (staging / "sub").mkdir()
        (staging / "sub" / "note.md").write_text("note")
    return place


def test_artifact_opens_with_what_was_published(tmp_path: Path) -> None:
    artifact = open_artifact(make(tmp_path / "a"), "thing")
    assert artifact.json("content.json") == {"text": "hello"}
    assert artifact.properties == {"n": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


def test_same_content_gives_same_digest_and_other_content_another(tmp_path: Path) -> None:
    one, two, other = (make(tmp_path / n, t) for n, t in [("a", "x"), ("b", "x"), ("c", "y")])
    assert open_artifact(one).digest == open_artifact(two).digest
    assert open_artifact(one).digest != open_artifact(other).digest


def test_digest_names_its_inputs(tmp_path: Path) -> None:
    first = open_artifact(make(tmp_path / "a"))
    with publish(tmp_path / "b", "next", inputs={"first": first}) as staging:
        write_json(staging / "x.json", 1)
    assert open_artifact(tmp_path / "b").inputs == {"first": first.digest}


def test_nothing_is_left_when_the_writer_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with publish(tmp_path / "a", "thing") as staging:
            (staging / "x.json").write_text("1")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_old_artifact_stays_whole_when_its_replacement_fails(tmp_path: Path) -> None:
    make(tmp_path / "a")

    def fail() -> None:
        with publish(tmp_path / "a", "thing") as staging:
            (staging / "content.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert open_artifact(tmp_path / "a").json("content.json") == {"text": "hello"}


def test_replacement_leaves_no_file_of_the_old_artifact(tmp_path: Path) -> None:
    make(tmp_path / "a")
    with publish(tmp_path / "a", "thing") as staging:
        write_json(staging / "other.json", 2)
    found = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert found == [MANIFEST, "other.json"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / MANIFEST).unlink(), "never finished"),
        (lambda p: (p / "content.json").unlink(), r"content\.json: listed in the manifest but"),
        (lambda p: (p / "content.json").write_text("short"), r"content\.json: 5 bytes"),
        (lambda p: (p / "content.json").write_text('{\n "text": "hellO"\n}\n'), "SHA-256"),
        (lambda p: (p / MANIFEST).write_text("{"), "not valid JSON"),
        (lambda p: (p / MANIFEST).write_text("[]"), "not a manifest"),
    ],
)
def test_damage_is_noticed_and_the_file_named(tmp_path: Path, damage: object, message: str) -> None:
    damage(make(tmp_path / "a"))
    with pytest.raises(ArtifactError, match=message):
        open_artifact(tmp_path / "a")


def edit_manifest(place: Path, **changes: object) -> None:
    path = place / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_artifact_is_refused_when_of_another_kind_or_schema(tmp_path: Path) -> None:
    place = make(tmp_path / "a")
    with pytest.raises(ArtifactError, match="holds a 'thing', expected a 'sequences'"):
        open_artifact(place, "sequences")
    edit_manifest(place, schema_version=99)
    with pytest.raises(ArtifactError, match="schema version 99, expected 1"):
        open_artifact(place)


@pytest.mark.parametrize("name", ["../secret.json", "/etc/hostname", "a\0b.json"])
def test_manifest_cannot_point_outside_its_folder(tmp_path: Path, name: str) -> None:
    place = make(tmp_path / "a")
    (tmp_path / "secret.json").write_text("1")
    edit_manifest(place, files={name: {"bytes": 1, "sha256": "0"}})
    with pytest.raises(ArtifactError, match="points outside the artifact"):
        open_artifact(place)


def test_file_that_the_manifest_does_not_list_is_not_given(tmp_path: Path) -> None:
    place = make(tmp_path / "a")
    (place / "planted.json").write_text("1")
    with pytest.raises(ArtifactError, match=r"without the file planted\.json"):
        open_artifact(place).json("planted.json")


def test_only_the_named_files_are_checked_and_open_when_some_are_named(tmp_path: Path) -> None:
    with publish(tmp_path / "a", "thing") as staging:
        write_json(staging / "card.json", {"users": 7})
        (staging / "many.npy").write_bytes(b"numbers")
    whole = open_artifact(tmp_path / "a")
    (tmp_path / "a" / "many.npy").unlink()
    part = open_artifact(tmp_path / "a", only=["card.json"])
    assert (part.digest, part.json("card.json")) == (whole.digest, {"users": 7})
    with pytest.raises(ArtifactError, match=r"without the file many\.npy"):
        part.file("many.npy")
    (tmp_path / "a" / "card.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"card\.json"):
        open_artifact(tmp_path / "a", only=["card.json"])


def test_manifest_with_malformed_files_is_refused(tmp_path: Path) -> None:
    place = make(tmp_path / "a")
    size = (place / "content.json").stat().st_size
    for entry in (
        {},
        3,
        {"bytes": size},
        {"bytes": size, "sha256": 5},
        {"bytes": "9", "sha256": ""},
    ):
        edit_manifest(place, files={"content.json": entry})
        with pytest.raises(ArtifactError, match=r"must give bytes and sha256.*'content\.json'"):
            open_artifact(place)
    edit_manifest(place, files=[])
    with pytest.raises(ArtifactError, match="'files' must be an object"):
        open_artifact(place)


@pytest.mark.parametrize("value", ['{"n": NaN}', '{"n": -Infinity}', '{"n": "\\ud800"}'])
def test_manifest_is_refused_when_a_value_has_no_digest(tmp_path: Path, value: str) -> None:
    place = make(tmp_path / "a")
    text = (place / MANIFEST).read_text()
    (place / MANIFEST).write_text(
        text.replace('"properties": {\n  "n": 1\n }', f'"properties": {value}')
    )
    with pytest.raises(ArtifactError, match="not a manifest of ours"):
        open_artifact(place)


def test_link_to_a_file_outside_is_refused(tmp_path: Path) -> None:
    place = make(tmp_path / "a")
    secret = tmp_path / "secret.json"
    (place / "content.json").rename(secret)
    os.symlink(secret, place / "content.json")
    with pytest.raises(ArtifactError, match="points outside the artifact"):
        open_artifact(place)


def test_pickle_cannot_be_published(tmp_path: Path) -> None:
    def attempt() -> None:
        with publish(tmp_path / "a", "thing") as staging:
            (staging / "model.pkl").write_bytes(b"x")

    with pytest.raises(ArtifactError, match=r"model\.pkl: an artifact may not hold a '\.pkl'"):
        attempt()
    assert not (tmp_path / "a").exists()


def test_canonical_json_refuses_nan_and_ignores_key_order() -> None:
    assert canonical_json({"b": 1, "a": [1.5, "ü"]}) == '{"a":[1.5,"ü"],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))
