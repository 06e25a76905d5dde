import os
from pathlib import Path

import numpy as np
import pytest

from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.distillation.shard_store import ShardStore


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    return ShardStore(tmp_path / "store")


def shard(place: Path, value: int = 1) -> Artifact:
    with publish(place, "teacher_cache") as staging:
        np.save(staging / "tail.npy", np.full(5, value))
        np.save(staging / "positions.npy", np.arange(5))
    return open_artifact(place)


def test_kept_shard_is_found_with_the_files_that_were_named(tmp_path, store, progress) -> None:
    store.keep("k", shard(tmp_path / "shard"), ["tail.npy"], progress)
    found = store.find("k", progress)
    assert found is not None
    assert found.files == {"tail.npy"}
    assert np.load(found.file("tail.npy")).tolist() == [1] * 5
    assert store.find("another", progress) is None
    assert progress.said == []


def test_kept_file_takes_no_space_of_its_own(tmp_path, store, progress) -> None:
    made = shard(tmp_path / "shard")
    store.keep("k", made, ["tail.npy"], progress)
    assert os.path.samefile(made.file("tail.npy"), store.folder / "k" / "tail.npy")


def test_kept_file_is_a_copy_when_the_disk_has_no_links(
    tmp_path, store, progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    made = shard(tmp_path / "shard")
    store.keep("k", made, ["tail.npy"], progress)
    assert not os.path.samefile(made.file("tail.npy"), store.folder / "k" / "tail.npy")
    assert store.find("k", progress) is not None


def test_kept_shard_stays_when_its_origin_is_published_again(tmp_path, store, progress) -> None:
    store.keep("k", shard(tmp_path / "shard", 1), ["tail.npy"], progress)
    again = shard(tmp_path / "shard", 2)
    kept = store.find("k", progress)
    assert kept is not None
    assert np.load(kept.file("tail.npy")).tolist() == [1] * 5
    assert np.load(again.file("tail.npy")).tolist() == [2] * 5


def test_origin_stays_when_the_kept_shard_is_replaced_or_removed(tmp_path, store, progress) -> None:
    made = shard(tmp_path / "one", 1)
    store.keep("k", made, ["tail.npy"], progress)
    store.keep("k", shard(tmp_path / "two", 2), ["tail.npy"], progress)
    assert open_artifact(made.path).digest == made.digest
    store.prune(0)
    assert open_artifact(made.path).digest == made.digest


def test_damaged_shard_is_said_and_removed(tmp_path, store, progress) -> None:
    store.keep("k", shard(tmp_path / "shard"), ["tail.npy"], progress)
    file = store.folder / "k" / "tail.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    assert store.find("k", progress) is None
    assert "damaged" in progress.said[0]
    assert "tail.npy" in progress.said[0]
    assert not (store.folder / "k").exists()


def test_unfinished_shard_is_not_found(tmp_path, store, progress) -> None:
    store.keep("k", shard(tmp_path / "shard"), ["tail.npy"], progress)
    (store.folder / "k" / "manifest.json").unlink()
    assert store.find("k", progress) is None


def test_shard_is_not_kept_and_this_is_said_when_the_disk_is_full(
    tmp_path, store, progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slmrec.distillation.shard_store.link_or_copy", full)
    store.keep("k", shard(tmp_path / "shard"), ["tail.npy"], progress)
    assert "No space left" in progress.said[0]
    assert store.find("k", progress) is None
    assert list(store.folder.iterdir()) == []


def test_shards_that_were_used_last_stay_when_the_store_is_pruned(
    tmp_path, store, progress
) -> None:
    made = shard(tmp_path / "shard")
    for age, key in enumerate(["newest", "middle", "used", "oldest"]):
        store.keep(key, made, ["tail.npy"], progress)
        os.utime(store.folder / key, (1e9 - age, 1e9 - age))
    store.find("used", progress)
    store.prune(2)
    assert {place.name for place in store.folder.iterdir()} == {"used", "newest"}


def test_nothing_happens_when_a_store_that_was_never_used_is_pruned(store) -> None:
    store.prune(2)
    assert not store.folder.exists()
