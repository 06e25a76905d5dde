"""Artifacts in a bucket that a cluster mounts as a folder."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slmrec.artifacts import MANIFEST, open_artifact, publish, write_json
from slmrec.distillation.shard_store import ShardStore
from slmrec.errors import ArtifactError
from slmrec.mounts import mounted_uri
from slmrec.progress import Silent
from tests.mounts import mounted_bucket


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """The mount, and the files that were written to it, in order."""
    with mounted_bucket(tmp_path / "gcs", monkeypatch) as written:
        yield tmp_path / "gcs", written


def make(place: Path, number: int = 1) -> Path:
    """Publish with all that a mount refuses: maps, seeking, links, renames inside the staging."""
    with publish(place, "thing") as staging:
        mapped = np.lib.format.open_memmap(staging / "mapped.npy", "w+", np.int64, (4,))
        mapped[:] = number
        mapped.flush()
        (staging / "sub").mkdir()
        pq.write_table(pa.table({"n": [number]}), staging / "sub" / "table.parquet")
        os.link(staging / "mapped.npy", staging / "linked.npy")
        write_json(staging / "aside.json", number)
        os.replace(staging / "aside.json", staging / "content.json")
    return place


def test_an_artifact_is_published_whole_with_its_manifest_last(mounted):
    top, written = mounted
    artifact = open_artifact(make(top / "bucket" / "run" / "out"), "thing")
    assert artifact.json("content.json") == 1
    assert np.load(artifact.file("mapped.npy"), mmap_mode="r").tolist() == [1] * 4
    assert pq.read_table(artifact.file("sub/table.parquet"))["n"].to_pylist() == [1]
    assert len(written) == 5
    assert Path(written[-1]).name == MANIFEST
    found = {path.name for path in (top / "bucket" / "run").rglob("*") if path.is_file()}
    assert found == {"content.json", "linked.npy", "mapped.npy", "table.parquet", MANIFEST}


def test_it_is_the_artifact_that_a_disk_would_have(mounted, tmp_path):
    on_disk = open_artifact(make(tmp_path / "disk"))
    assert open_artifact(make(mounted[0] / "bucket" / "out")).digest == on_disk.digest


def test_an_older_artifact_is_replaced_and_nothing_of_it_is_left(mounted):
    place = make(mounted[0] / "bucket" / "out")
    with publish(place, "thing") as staging:
        write_json(staging / "other.json", 2)
    assert sorted(path.name for path in place.iterdir()) == [MANIFEST, "other.json"]
    assert open_artifact(place).json("other.json") == 2


def test_there_is_no_artifact_when_the_copy_was_cut_short(mounted, monkeypatch):
    place = mounted[0] / "bucket" / "out"
    make(place)

    def cut(source, target):
        if target.name == "linked.npy":
            raise OSError(5, "Input/output error")
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr("slmrec.artifacts._copy", cut)
    with pytest.raises(OSError, match="Input/output"):
        make(place, 2)
    with pytest.raises(ArtifactError, match="never finished"):
        open_artifact(place)


def test_nothing_is_left_on_the_machine(mounted, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    make(mounted[0] / "bucket" / "out")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_shard_is_kept_on_disk_from_a_mount_and_the_other_way(mounted, tmp_path):
    shard = open_artifact(make(mounted[0] / "bucket" / "shard"))
    store = ShardStore(tmp_path / "store")
    store.keep("key", shard, ["mapped.npy"], Silent())
    kept = store.find("key", Silent())
    assert np.load(kept.file("mapped.npy")).tolist() == [1] * 4
    on_mount = ShardStore(mounted[0] / "bucket" / "store")
    on_mount.keep("key", open_artifact(make(tmp_path / "disk")), ["mapped.npy"], Silent())
    assert on_mount.find("key", Silent()) is not None


def test_a_path_is_known_by_the_uri_it_stands_for():
    assert mounted_uri(Path("/gcs/bucket/run/out")) == "gs://bucket/run/out"
    assert mounted_uri(Path("/minio/mlpipeline/v2")) == "minio://mlpipeline/v2"
    assert mounted_uri(Path("/gcsx/bucket")) == mounted_uri(Path("gcs/bucket")) == ""
