"""Names from outside stay inside their root: whatever turns one into a file refuses these."""

import json
import os
import time

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.external_data_helper import set_external_data

from slmrec.artifacts import MANIFEST, digest_file, open_artifact, publish, write_json
from slmrec.config import PromoteModel
from slmrec.confinement import objection
from slmrec.dashboard.files import Files, Shelf
from slmrec.data.expectations import evaluate
from slmrec.data.source import resolve, snapshot
from slmrec.errors import ArtifactError, ConfigError, SourceMissingError
from slmrec.models.hugging_face import load_checkpoint
from slmrec.models.servable import open_graph
from slmrec.registry.channels import Channels
from slmrec.registry.store import Registry
from slmrec.storage.bucket import Bucket
from slmrec.storage.documents import Folder, open_documents
from slmrec.storage.files import describe, fetch, list_objects
from tests.faults.conftest import keep_row
from tests.registry.registries import VERSION
from tests.storage.cloud import QUICK, Stored, client_of, serve_bucket

SECRET = "secret.json"
CLIMBING = [
    "../secret.json",
    "sub/../../secret.json",
    "./../secret.json",
    "..",
    ".",
    "a/..",
    "%2e%2e/secret.json",
    "%2E%2E%2Fsecret.json",
    ".%2e/secret.json",
    "%252e%252e/secret.json",
    "..\\secret.json",
    "sub\\..\\..\\secret.json",
    "..%5csecret.json",
]
ABSOLUTE = [
    "/etc/hostname",
    "//etc/hostname",
    "C:\\secret.json",
    "\\\\server\\share\\secret.json",
    "file:///etc/hostname",
    "gs://other/secret.json",
    "http://127.0.0.1/secret.json",
]
MALFORMED = [
    "",
    "a//b",
    "a/",
    "secret.json\0.json",
    "secret.json%00.json",
    "line\nbreak.json",
    "x" * 256,
    "/".join(["x" * 200] * 6),
    "half a pair \ud800",
]
NAMES = [*CLIMBING, *ABSOLUTE, *MALFORMED]
SCHEMES = [
    "file:///etc/hostname",
    "FILE:///etc/hostname",
    "file:/etc/hostname",
    "http://127.0.0.1/log.csv",
    "https://example.com/log.csv",
    "s3://bucket/log.csv",
    "az://bucket/log.csv",
    "ftp://host/log.csv",
    "GS://bucket/log.csv",
    "C:/log.csv",
    "/etc/host\0name",
]
OBJECTS = [
    "gs://bucket/../other/log.csv",
    "gs://bucket/a/../../other/log.csv",
    "gs://bucket/./log.csv",
    "gs://bucket/%2e%2e/other/log.csv",
    "gs://bucket/%252e%252e/log.csv",
    "gs://bucket/..%2fother/log.csv",
    "gs://bucket/..\\other\\log.csv",
    "gs://../bucket/log.csv",
    "gs://%2e%2e/log.csv",
    "gs://user@bucket/log.csv",
    "gs://bucket:80/log.csv",
    "gs://bucket?x=/log.csv",
    "gs://bucket#x/log.csv",
    "gs:///log.csv",
    "gs:////log.csv",
    "gs://bucket/log\0.csv",
    "gs://bucket/log\r\nX-Header: 1",
    "gs://bucket/" + "x" * 1025,
    "gs://bucket/\ud800",
]
PLAIN = [
    "a.json",
    "sub/a.json",
    "..a",
    "a..b/c..",
    "100%",
    "ü/名.json",
    "x" * 255,
    "a b~$&'()+,;=@",
]


@pytest.fixture(scope="module", autouse=True)
def counted(request):
    """Row 13: that every try of this file ended as it should, in one line."""
    failed, started = request.session.testsfailed, time.monotonic()
    yield
    tried = sum(item.path == request.path for item in request.session.items)
    wrong = request.session.testsfailed - failed
    measured = (
        f"{tried} tries of {len(NAMES)} names, {len(SCHEMES)} schemes and {len(OBJECTS)} objects, with "
        "links, on artifacts, registry, dashboard, policies, checkpoints, graphs and buckets: "
        f"{wrong} led outside or were taken for another"
    )
    keep_row(
        13,
        "names and URIs stay inside their root",
        "`..`, links, absolute, encoded, `file://`, other buckets: all refused",
        measured,
        time.monotonic() - started,
    )


@pytest.fixture
def outside(tmp_path):
    """A file beside every root that no name may lead to."""
    secret = tmp_path / SECRET
    secret.write_text('{"secret": true}')
    return secret


@pytest.fixture
def root(tmp_path):
    with publish(tmp_path / "root", "thing") as staging:
        write_json(staging / "content.json", 1)
    return tmp_path / "root"


def test_the_table_is_as_long_as_it_says():
    assert len(NAMES) == 29
    assert len(SCHEMES) == 11
    assert len(OBJECTS) == 19


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_is_allowed_when_it_only_looks_odd(name):
    assert objection(name) == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_names_only_files_of_its_artifact(root, outside, name):
    entry = {"bytes": outside.stat().st_size, "sha256": digest_file(outside)}
    manifest = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).write_text(json.dumps({**manifest, "files": {name: entry}}))
    with pytest.raises(ArtifactError, match="points outside the artifact"):
        open_artifact(root)


@pytest.mark.parametrize("name", ["content.json", MANIFEST])
@pytest.mark.parametrize("circle", [False, True])
def test_a_link_out_of_an_artifact_is_refused(root, outside, name, circle):
    (root / name).unlink()
    os.symlink(root / name if circle else outside, root / name)
    with pytest.raises(ArtifactError, match="outside the artifact"):
        open_artifact(root)


def test_a_linked_folder_out_of_an_artifact_is_refused(root, outside):
    entry = {"bytes": outside.stat().st_size, "sha256": digest_file(outside)}
    manifest = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).write_text(json.dumps({**manifest, "files": {f"sub/{SECRET}": entry}}))
    os.symlink(outside.parent, root / "sub")
    with pytest.raises(ArtifactError, match=r"outside the artifact \(by a link"):
        open_artifact(root)


@pytest.mark.parametrize("name", NAMES)
def test_a_registry_document_is_one_of_its_folder(tmp_path, outside, name):
    documents = Folder(tmp_path / "registry")
    for call in (
        lambda: documents.read(name),
        lambda: documents.replace(name, b"x", ""),
        lambda: documents.put_all({name: outside}),
        lambda: documents.fetch(name),
        lambda: documents.remove([name]),
    ):
        with pytest.raises(ArtifactError, match="is outside of this folder"):
            call()
    assert outside.read_text() == '{"secret": true}'


@pytest.mark.parametrize("place", ["channels.json", "versions", "versions/000001/model"])
def test_a_link_out_of_a_registry_is_refused(tmp_path, outside, root, place):
    documents = Folder(tmp_path / "registry")
    documents.replace("versions/000001/version.json", VERSION, "")
    registry = Registry(documents)
    target = tmp_path / "registry" / place
    if place == "versions":
        os.rename(target, tmp_path / "moved")
    os.symlink({"channels.json": outside, "versions": tmp_path / "moved"}.get(place, root), target)
    with pytest.raises(ArtifactError, match="a link in it leads out"):
        registry.channels() if place == "channels.json" else registry.artifact(1, "model")


@pytest.mark.parametrize("number", ["../../x", "1", 0, -1, 1.5, True, [1], {"a": 1}])
@pytest.mark.parametrize("field", ["production", "candidate", "served", "taken_back", "removed"])
def test_a_version_is_named_by_a_number_and_nothing_else(tmp_path, field, number):
    channels = json.loads(Channels().to_json())
    channels[field] = [number] if isinstance(channels[field], list) else number
    documents = Folder(tmp_path)
    documents.replace("channels.json", json.dumps(channels).encode(), "")
    with pytest.raises(ArtifactError, match=r"channels\.json: not the channels of a registry"):
        Registry(documents).channels()


@pytest.mark.parametrize("number", ["../../x", "1", 2, -1, 1.0, True])
def test_a_version_does_not_call_itself_another(tmp_path, number):
    documents = Folder(tmp_path)
    record = json.dumps({**json.loads(VERSION), "number": number}).encode()
    documents.replace("versions/000001/version.json", record, "")
    with pytest.raises(
        ArtifactError, match=r"says that it is version|not a version of this registry"
    ):
        Registry(documents).version(1)


@pytest.mark.parametrize("change", [{"action": "../../x"}, {"number": "../1"}, {"number": -1}])
def test_a_decision_is_filed_under_a_number_and_an_action(tmp_path, change):
    decision = {"number": 1, "action": "snooze", "version": None, "previous": None}
    decision |= {"reason": "r", "actor": "a", "time": "t", **change}
    channels = {**json.loads(Channels().to_json()), "newest": [decision]}
    documents = Folder(tmp_path)
    documents.replace("channels.json", json.dumps(channels).encode(), "")
    with pytest.raises(ArtifactError, match=r"not the channels of a registry \(newest"):
        Registry(documents).channels()


@pytest.mark.parametrize("name", [n for n in NAMES if n and not n.endswith("/")])
def test_an_object_is_fetched_into_its_folder_or_not_at_all(outside, name):
    with serve_bucket("models") as (served, address), client_of(address) as client:
        served.objects["registry/v/good"] = Stored(b"x", 1, {})
        served.objects[f"registry/v/{name}"] = Stored(b"x", 1, {})
        documents = Bucket("gs://models/registry", client=client, patience=QUICK)
        with pytest.raises(SourceMissingError, match="a name that leaves its folder"):
            documents.fetch("v")
        assert not any(request.startswith(f"GET /download{name}") for request in served.requests)


@pytest.mark.parametrize("uri", SCHEMES)
def test_a_place_is_a_path_or_in_cloud_storage(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("file:", "FILE:", "C:"):  # folders that such a URI would be a path into
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "etc" / "hostname").write_text("x")
    for call in (
        lambda: resolve(uri),
        lambda: snapshot("sample:", uri),
        lambda: fetch(uri, tmp_path),
        lambda: open_documents(uri),
    ):
        with pytest.raises(ConfigError, match="expected a path or gs://"):
            call()
    with pytest.raises(ConfigError):
        load_checkpoint(uri, tmp_path)


@pytest.mark.parametrize("uri", OBJECTS)
def test_an_object_is_one_of_its_bucket(uri, tmp_path):
    for call in (
        lambda: describe(uri),
        lambda: list_objects(uri),
        lambda: fetch(uri, tmp_path),
        lambda: resolve(uri + "/"),
        lambda: snapshot(uri, ""),
        lambda: Bucket(uri),
        lambda: load_checkpoint(uri, tmp_path),
    ):
        with pytest.raises((ConfigError, SourceMissingError), match="expected"):
            call()


@pytest.mark.parametrize("place", ["/gcs/bucket/registry", "/gcs/bucket/../bucket/registry"])
def test_a_registry_is_not_kept_in_a_mounted_bucket(place):
    with pytest.raises(ConfigError, match=r"keeps no locks.*gs://bucket/"):
        open_documents(place)


@pytest.mark.parametrize("name", NAMES)
def test_the_dashboard_shows_nothing_from_outside(tmp_path, outside, name):
    place = tmp_path / "home" / "cache" / "artifacts" / "run" / "step"
    with publish(place, "thing") as staging:
        write_json(staging / "content.json", 1)
    manifest = json.loads((place / MANIFEST).read_text())
    entry = {"bytes": outside.stat().st_size, "sha256": digest_file(outside)}
    (place / MANIFEST).write_text(json.dumps({**manifest, "files": {name: entry}}))
    shelf = Shelf(tmp_path / "home", Files())
    holding = shelf.find("/moved/cache/artifacts/run/step")
    if "\ud800" in name:
        assert holding is None  # not even its digest can be told
    else:
        assert holding is not None
        assert holding.bytes(name) is holding.json(name) is holding.file(name) is None
    assert shelf.find(f"/moved/cache/artifacts/{name}") is None


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_or_suite_is_a_file_of_its_folder(tmp_path, name):
    with pytest.raises(ValueError, match="gates"):
        PromoteModel(gates=name)
    with pytest.raises(ConfigError, match=r"validate_data\.suites"):
        evaluate([name], tmp_path, {})


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoints_weights_are_files_of_its_folder(tmp_path, name):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"")
    index = {"weight_map": {"weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match="expected files of this folder"):
        load_checkpoint(str(folder), tmp_path)


@pytest.mark.parametrize("name", [n for n in NAMES if n and "\ud800" not in n])
def test_a_graphs_weights_are_files_of_its_folder(tmp_path, name):
    """ONNX Runtime refuses them itself; this says so should it ever stop."""
    weights = np.arange(4, dtype=np.float32)
    (tmp_path / SECRET).write_bytes(weights.tobytes())
    (tmp_path / "model").mkdir()
    tensor = numpy_helper.from_array(weights, "w")
    set_external_data(tensor, name, 0, weights.nbytes)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [tensor])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    (tmp_path / "model" / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="ONNX Runtime cannot load it"):
        open_graph(tmp_path / "model" / "m.onnx", 1)
