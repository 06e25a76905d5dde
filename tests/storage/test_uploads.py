"""Large objects go up in chunks of one session: what was received is not sent again."""

import threading

import numpy as np
import pytest

from slmrec.errors import RegistryConflict, SourceMissingError
from slmrec.storage import uploads
from slmrec.storage.bucket import Bucket
from slmrec.storage.patience import Patience
from tests.storage.cloud import QUICK, Stored, client_of, serve_bucket
from tests.storage.faults import Plan

CHUNK, SIZE = 512, 2000
CONTENT = np.random.default_rng(0).bytes(SIZE)
NAME = "registry/v/model"
# The library leaves the connection of an upload that was refused to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


class Heard:
    """Progress that remembers."""

    def __init__(self):
        self.reports = []

    def update(self, done, total, note=""):
        self.reports.append((done, total))

    def say(self, message):
        raise AssertionError(message)


@pytest.fixture
def served(monkeypatch):
    monkeypatch.setattr(uploads, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr("slmrec.storage.bucket.CHUNK_BYTES", CHUNK)
    with serve_bucket("models") as (bucket, address), client_of(address) as client:
        yield bucket, Bucket("gs://models/registry", client=client, patience=QUICK)
        bucket.plan = None


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(CONTENT)
    return path


def test_large_file_goes_up_in_chunks_and_says_how_far_it_is(served, model):
    bucket, documents = served
    heard = Heard()
    documents.put_all({"v/model": model}, heard)
    assert bucket.objects[NAME].content == CONTENT
    assert sum(request.startswith("PUT") for request in bucket.requests) == 4
    assert [done for done, _ in heard.reports[:4]] == [512, 1024, 1536, 2000]
    assert {total for _, total in heard.reports} == {SIZE}


@pytest.mark.parametrize("kind", ["part", "less"])
def test_what_was_received_of_a_chunk_is_not_sent_again(served, model, kind):
    bucket, documents = served
    bucket.plan = Plan(seed=3, rate=0.4, stall_seconds=0, kinds=(kind,))
    documents.put_all({"v/model": model})
    assert bucket.plan.counts[kind] > 0
    assert bucket.objects[NAME].content == CONTENT
    assert bucket.received == SIZE


def test_upload_goes_on_where_it_was_when_an_answer_was_lost(served, model):
    bucket, documents = served
    bucket.fail("PUT", "/upload/", applied=True)
    documents.put_all({"v/model": model})
    assert bucket.objects[NAME].content == CONTENT
    assert bucket.received == SIZE


@pytest.mark.parametrize("forgotten", [False, True])
def test_object_is_written_once_when_the_answer_to_its_last_chunk_was_lost(
    served, model, forgotten
):
    bucket, documents = served
    model.write_bytes(CONTENT[: 2 * CHUNK])
    losses = ["lost"]

    def draw(chunk):
        if chunk and bucket.uploads["0"].content:
            return losses.pop()
        if forgotten and not losses:
            bucket.uploads.clear()
        return ""

    bucket.plan = Plan(seed=0, rate=0, stall_seconds=0)
    bucket.plan.draw = draw
    documents.put_all({"v/model": model})
    assert bucket.objects[NAME].content == CONTENT[: 2 * CHUNK]
    assert bucket.writes == [NAME]


def test_upload_begins_anew_when_the_service_has_forgotten_it(served, model):
    bucket, documents = served
    bucket.fail("PUT", "/upload/", 410)
    documents.put_all({"v/model": model})
    assert bucket.objects[NAME].content == CONTENT
    assert len(bucket.uploads) == 2


@pytest.mark.parametrize("size", [10, SIZE])
def test_the_same_bytes_are_no_conflict_and_others_are(served, model, size):
    bucket, documents = served
    model.write_bytes(CONTENT[:size])
    documents.put_all({"v/model": model})
    documents.put_all({"v/model": model})
    assert bucket.writes == [NAME]
    model.write_bytes(CONTENT[:size][::-1])
    with pytest.raises(RegistryConflict, match="gs://models/registry/v/model: holds other bytes"):
        documents.put_all({"v/model": model})
    assert bucket.objects[NAME].content == CONTENT[:size]


def test_no_object_appears_when_other_bytes_arrive_than_the_checksum_is_of(
    served, model, monkeypatch
):
    bucket, documents = served
    monkeypatch.setattr(uploads, "crc32c", lambda path: "AAAAAA==")
    with pytest.raises(SourceMissingError, match=r"could not be written .*doesn't match"):
        documents.put_all({"v/model": model})
    assert bucket.objects == {}


def test_files_go_up_side_by_side(served, tmp_path):
    bucket, documents = served
    together = threading.Barrier(4, timeout=10)
    bucket.plan = Plan(seed=0, rate=0, stall_seconds=0)
    bucket.plan.stall = together.wait
    files = {}
    for number in range(4):
        (tmp_path / str(number)).write_bytes(b"x" * 10)
        files[f"v/{number}"] = tmp_path / str(number)
    kinds = ["stall"] * 4
    bucket.plan.draw = lambda chunk: kinds.pop() if kinds else ""
    documents.put_all(files)  # all four first requests wait for each other
    assert sorted(bucket.writes) == [f"registry/v/{number}" for number in range(4)]


def test_a_service_that_only_fails_is_given_up_after_the_deadline(served, model):
    bucket, _ = served
    bucket.fail("POST", "/upload/", 503, always=True)
    soon = Patience(silence=5, first_wait=0.01, longest_wait=0.05, deadline=0.3, unreachable=0.3)
    documents = Bucket("gs://models/registry", client=served[1]._client, patience=soon)
    with pytest.raises(
        SourceMissingError, match=r"v/model: could not be written \(again and again"
    ):
        documents.put_all({"v/model": model})
    assert len(bucket.requests) > 3
    assert bucket.objects == {}


def test_somebody_elses_object_is_not_taken_for_ones_own(served):
    bucket, documents = served
    bucket.objects["registry/x"] = Stored(b"1", 7, {"writer": "somebody"})
    assert not documents.replace("x", b"1", "")
    assert not documents.replace("x", b"2", "6")
    assert documents.replace("x", b"2", "7")
