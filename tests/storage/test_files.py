import base64
import gzip
import hashlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from slmrec.config import IngestInteractions
from slmrec.data.ingest import ingest
from slmrec.data.source import list_source, resolve, snapshot
from slmrec.errors import ConfigError, SourceMissingError
from slmrec.progress import Silent
from slmrec.storage import uploads
from slmrec.storage.bucket import Bucket
from slmrec.storage.client import is_remote
from slmrec.storage.files import describe, fetch
from tests.storage.cloud import QUICK

CONTENT = "user,item,timestamp\nÉ,1,2\n".encode()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of an emulator of its own on loopback."""
    folder = tmp_path_factory.mktemp("emulator")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = "from gcp_storage_emulator.__main__ import main; main()"
    arguments = ["-d", str(folder), "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", command, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _wait(endpoint, process)
        found = Client(
            project="test",
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=endpoint),
        )
        bucket = found.create_bucket("logs", retry=None, timeout=5)
        bucket.blob("2024/log.csv").upload_from_string(CONTENT, retry=None, timeout=5)
        yield found
        found.close()
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(endpoint: str, process: subprocess.Popen) -> None:
    for _ in range(200):
        assert process.poll() is None, "the emulator ended"
        try:
            urllib.request.urlopen(endpoint + "/", timeout=1).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the emulator did not start")


def test_an_object_is_described_when_it_exists(client):
    found = describe("gs://logs/2024/log.csv", client=client, patience=QUICK)
    assert found.size == len(CONTENT)
    assert found.md5 == base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    assert found.crc32c
    assert found.generation > 0


def test_the_bytes_arrive_when_an_object_is_fetched(client, tmp_path):
    path = fetch("gs://logs/2024/log.csv", tmp_path, client=client, patience=QUICK)
    assert path == tmp_path / "log.csv"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]


def test_the_source_digest_follows_the_generation_when_an_object_is_replaced(client, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", client.api_endpoint)
    blob = client.bucket("logs").blob("changing.csv")
    digests = []
    for content in ("one", "two"):
        blob.upload_from_string(content, retry=None, timeout=5)
        digests.append(snapshot("gs://logs/changing.csv", ""))
    assert digests[0] != digests[1]
    assert snapshot("gs://logs/changing.csv", "") == digests[1]


def shards(client) -> str:
    """Upload two halves of a log, one packed, and things that are no part of it; give their folder."""
    bucket = client.bucket("logs")
    lines = [f"u{number % 7},i{number % 5},{1_600_000_000 + number}" for number in range(40)]
    halves = ["\n".join(["user,item,timestamp", *part]) for part in (lines[:20], lines[20:])]
    uploads = {
        "days/a.csv": halves[0].encode(),
        "days/more/b.csv.gz": gzip.compress(halves[1].encode(), mtime=0),
        "days/_SUCCESS": b"",
        "days-old/c.csv": b"another log",
    }
    for name, content in uploads.items():
        bucket.blob(name).upload_from_string(content, retry=None, timeout=5)
    return "gs://logs/days/"


def test_a_prefix_is_all_its_data_files(client, monkeypatch, tmp_path):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", client.api_endpoint)
    folder = shards(client)
    assert [file.name for file in resolve(folder)] == ["a.csv", "more/b.csv.gz"]
    assert [file.name for file in resolve(f"{folder}*.csv")] == ["a.csv"]
    assert len(resolve(f"{folder}**/*.csv*")) == 2
    card = ingest(folder, "", IngestInteractions(), tmp_path, Silent())
    assert (card["kept"], card["users"], card["items"], card["files"]) == (40, 7, 5, 2)


def test_a_listing_has_sizes_without_asking_for_each_object(client, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", client.api_endpoint)
    folder = shards(client)
    one = list_source("gs://logs/days/a.csv", "")
    monkeypatch.setattr("slmrec.data.source.describe", None)
    found = list_source(folder, "")
    size, digest = found.files["interactions/a.csv"]
    assert found.files.keys() == {"interactions/a.csv", "interactions/more/b.csv.gz"}
    assert one.files == {"interactions/a.csv": (size, digest)}
    content = client.bucket("logs").blob("days/a.csv").download_as_bytes(timeout=5)
    assert size == len(content)
    assert digest == base64.b64encode(hashlib.md5(content).digest()).decode()


def test_a_prefix_without_objects_is_told(client, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", client.api_endpoint)
    with pytest.raises(SourceMissingError, match="gs://logs/nothing/"):
        resolve("gs://logs/nothing/")
    with pytest.raises(SourceMissingError, match="gs://absent/x/: could not be listed"):
        resolve("gs://absent/x/")


def test_a_large_file_goes_up_in_chunks_and_comes_back(client, tmp_path, monkeypatch):
    chunk = 256 * 1024
    monkeypatch.setattr(uploads, "CHUNK_BYTES", chunk)
    content = np.random.default_rng(0).bytes(2 * chunk + 12_345)
    for name, size in (("large", len(content)), ("small", 100)):
        (tmp_path / name).write_bytes(content[:size])
    documents = Bucket("gs://logs/up", client=client, patience=QUICK)
    documents.put_all({f"v/{name}": tmp_path / name for name in ("large", "small")})
    folder = documents.fetch("v")
    assert (folder / "large").read_bytes() == content
    assert (folder / "small").read_bytes() == content[:100]


def test_a_local_path_passes_through_when_fetched(tmp_path):
    assert fetch("some/log.csv", tmp_path).as_posix() == "some/log.csv"
    assert not is_remote("some/log.csv")
    assert is_remote("gs://logs/log.csv")


def test_the_object_is_named_when_it_is_missing(client, tmp_path):
    with pytest.raises(SourceMissingError, match=r"gs://logs/absent\.csv: no such object"):
        fetch("gs://logs/absent.csv", tmp_path, client=client, patience=QUICK)


@pytest.mark.parametrize("uri", ["gs://", "gs://logs", "gs://logs/", "gs:///x", "gs://logs/a/../b"])
def test_the_uri_is_refused_when_it_names_no_object(uri):
    with pytest.raises(ConfigError, match="expected"):
        describe(uri)
