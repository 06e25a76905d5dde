"""Objects of an S3-compatible store: what arrives, what is told when nothing does, and who is asked."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from slmrec.errors import ConfigError, SourceMissingError
from slmrec.storage import object_store
from slmrec.storage.object_store import ObjectStore
from tests.storage.s3 import CUT, EMPTY, KEY, SECRET, Store, serve_store, signature

URI = "minio://mlpipeline/v2/artifacts/report/drift.json"
NAME = "mlpipeline/v2/artifacts/report/drift.json"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    """A store with one object, on a machine that knows no credentials of its own."""
    for name in (*Store().environment, "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with serve_store() as served:
        served.objects[NAME] = b"0123456789"
        yield served


def opened(store: Store, **environment: str) -> ObjectStore:
    return ObjectStore(store.url, {**store.environment, **environment})


def refused(objects: ObjectStore, folder: Path, uri: str = URI) -> str:
    """Why an object did not arrive; nothing may be left of it."""
    folder.mkdir(exist_ok=True)
    with pytest.raises(SourceMissingError) as told:
        objects.download(uri, folder / "drift.json")
    assert list(folder.iterdir()) == []
    message = str(told.value)
    assert message.startswith(f"{uri}: asked ")
    assert SECRET not in message
    return message


def test_the_signature_is_that_of_the_published_example() -> None:
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": "20130524T000000Z",
    }
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    made = signature(
        "GET", "/test.txt", headers, ";".join(headers), "20130524/us-east-1/s3", secret
    )
    assert made == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


@pytest.mark.parametrize(
    ("name", "content"),
    [("a/b.json", b"0123456789"), ("a b/ü+(1)=~*'&?#%.json", b"0123"), ("a/empty", b"")],
)
def test_an_object_arrives_in_ranges_whatever_it_is_called(
    name: str, content: bytes, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "RANGE_BYTES", 4)
    store.objects[f"mlpipeline/{name}"] = content
    target = tmp_path / "there"
    for scheme in ("s3", "minio"):
        opened(store).download(f"{scheme}://mlpipeline/{name}", target)
        assert target.read_bytes() == content
        target.unlink()
    ranges = [line.rpartition(" ")[2] for line in store.requests if line.startswith("GET")]
    asked = ["bytes=0-3", "bytes=4-7", "bytes=8-9"][: -(-len(content) // 4)]
    assert ranges == asked * 2
    assert list(tmp_path.iterdir()) == []


def test_the_region_is_signed_when_one_is_named(store: Store, tmp_path: Path) -> None:
    opened(store, AWS_REGION="eu-central-7").download(URI, tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"0123456789"


@pytest.mark.parametrize("failure", [("HEAD", 503), ("GET", 500), ("GET", CUT)])
def test_an_object_arrives_when_one_request_fails(
    failure: tuple[str, int], store: Store, tmp_path: Path
) -> None:
    store.failures.append(failure)
    opened(store).download(URI, tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"0123456789"
    assert (len(store.requests), store.failures) == (3, [])


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_no_request_is_sent_more_than_three_times(
    method: str, store: Store, tmp_path: Path
) -> None:
    store.failures += [(method, 503)] * 4
    said = refused(opened(store), tmp_path / "in")
    assert "failed (503) in up to 3 attempts; try again later" in said
    assert len([line for line in store.requests if line.startswith(method)]) == 3


def test_what_is_missing_is_told(store: Store, tmp_path: Path) -> None:
    said = refused(opened(store), tmp_path / "in", "s3://mlpipeline/v2/other")
    assert f"asked {store.url}: no such object in it; check that this is the store" in said
    said = refused(opened(store), tmp_path / "in", "s3://elsewhere/v2/other")
    assert "no bucket 'elsewhere' there; check that" in said


@pytest.mark.parametrize("other", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "x"}])
def test_credentials_are_told_when_they_are_refused(
    other: dict[str, str], store: Store, tmp_path: Path
) -> None:
    said = refused(opened(store, **other), tmp_path / "in")
    assert "refused (403); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, that they" in said


def test_their_names_are_told_when_there_are_no_credentials(store: Store, tmp_path: Path) -> None:
    said = refused(ObjectStore(store.url, {}), tmp_path / "in")
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; set them, in the clus" in said
    half = ObjectStore(store.url, {"AWS_ACCESS_KEY_ID": KEY})
    with pytest.raises(
        ConfigError, match="AWS_SECRET_ACCESS_KEY: not set, although AWS_ACCESS_KEY"
    ):
        half.download(URI, tmp_path / "in" / "drift.json")


def test_the_region_is_told_when_a_store_finds_the_request_wrong(
    store: Store, tmp_path: Path
) -> None:
    store.failures.append(("HEAD", 400))
    assert "refused (400); check AWS_REGION" in refused(opened(store), tmp_path / "in")


def test_the_address_is_told_when_nobody_answers(store: Store, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        said = refused(ObjectStore(url, store.environment), tmp_path / "in")
    assert f"asked {url}: no answer (" in said
    assert said.endswith("); check --object-store and the way to it")


def test_nobody_waits_long_when_a_store_says_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(object_store, "ATTEMPTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = refused(ObjectStore(url, store.environment), tmp_path / "in")
    assert "no answer (Operation too slow" in said


def test_an_endpoint_is_not_asked_when_only_an_address_names_it(
    store: Store, tmp_path: Path
) -> None:
    with serve_store() as stranger:
        stranger.objects[NAME] = b"other"
        uri = f"{URI}?endpoint={stranger.url.removeprefix('http://')}&region=x&disableSSL=true"
        objects = opened(store)
        assert objects.address(uri) == URI
        objects.download(objects.address(uri), tmp_path / "there")
        assert (tmp_path / "there").read_bytes() == b"0123456789"
        with pytest.raises(SourceMissingError, match="a store of the cluster's own, it says '127"):
            ObjectStore("", store.environment).address(uri.replace("minio://", "s3://"))
        assert stranger.requests == []


def test_a_store_has_to_be_named_when_it_is_no_one_elses() -> None:
    amazon = ObjectStore("", {})
    with pytest.raises(SourceMissingError, match="name its address with --object-store, in the"):
        amazon.address(URI)
    assert amazon.address("s3://shop/a?region=eu-west-1") == "s3://shop/a"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "minio:///x",
        "s3://bucket/a/../b",
        "s3://bucket/./a",
        "s3://bucket/a//b",
        "s3://evil.example:80@host/a",
        "s3://evil.example#/a",
        "s3://UP/a",
        "s3://bucket/a\x1b[31m",
    ],
)
def test_a_uri_is_refused_when_it_names_no_object(uri: str, store: Store, tmp_path: Path) -> None:
    objects = opened(store)
    for ask in (objects.address, lambda uri: objects.download(uri, tmp_path / "there")):
        with pytest.raises(ConfigError, match="expected") as told:
            ask(uri)
        assert str(told.value).isprintable()
    assert (store.requests, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(
    "endpoint", ["minio:9000", "http://", "ftp://h", "http://h/x", "http://h?x"]
)
def test_an_endpoint_is_refused_when_it_is_none(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="expected the address of an object store"):
        ObjectStore(endpoint, {})
