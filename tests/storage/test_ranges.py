import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from slmrec.errors import SourceMissingError
from slmrec.storage import ranges
from slmrec.storage.files import fetch
from tests.storage.cloud import QUICK, Stored, client_of, serve_bucket

SIZE, RANGE = 1000, 300
CONTENT = np.random.default_rng(0).bytes(SIZE)
URI = "gs://logs/day/log.csv"
# The library leaves the connection of a download that was refused to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def served(monkeypatch):
    """A bucket with one object of four ranges, and a client of it."""
    monkeypatch.setattr(ranges, "RANGE_BYTES", RANGE)
    with serve_bucket("logs") as (bucket, address), client_of(address) as client:
        put(bucket, CONTENT)
        yield bucket, client
        gc.collect()


def put(bucket, content):
    bucket.generation += 1
    bucket.objects["day/log.csv"] = Stored(content, bucket.generation, {})


def test_large_object_arrives_in_ranges_and_says_how_far_it_is(served, tmp_path):
    bucket, client = served
    told = []
    path = fetch(URI, tmp_path, client=client, patience=QUICK, report=lambda *far: told.append(far))
    assert path.read_bytes() == CONTENT
    assert sorted(bucket.ranges) == [0, 300, 600, 900]
    assert told == [(0, SIZE), (300, SIZE), (600, SIZE), (900, SIZE), (1000, SIZE)]
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]


@pytest.mark.parametrize("size", [SIZE, RANGE])
def test_what_has_arrived_is_not_fetched_again(served, tmp_path, size):
    bucket, client = served
    put(bucket, CONTENT[:size])
    path = fetch(URI, tmp_path, client=client, patience=QUICK)
    bucket.fail("GET", "/download/", 500, always=True)
    told = []
    fetch(URI, tmp_path, client=client, patience=QUICK, report=lambda *far: told.append(far))
    assert (path.read_bytes(), told) == (CONTENT[:size], [(size, size)])


def test_small_object_arrives_at_once(served, tmp_path):
    bucket, client = served
    put(bucket, CONTENT[:RANGE])
    told = []
    path = fetch(URI, tmp_path, client=client, patience=QUICK, report=lambda *far: told.append(far))
    assert path.read_bytes() == CONTENT[:RANGE]
    assert (bucket.ranges, told) == ([], [(RANGE, RANGE)])


@pytest.mark.parametrize("status", [429, 503])
def test_range_is_asked_for_again_when_the_service_is_busy(served, tmp_path, status):
    bucket, client = served
    bucket.fail("GET", "/download/", status)
    assert fetch(URI, tmp_path, client=client, patience=QUICK).read_bytes() == CONTENT


def test_range_is_asked_for_again_when_it_arrives_short(served, tmp_path):
    bucket, client = served
    bucket.short_next = True
    assert fetch(URI, tmp_path, client=client, patience=QUICK).read_bytes() == CONTENT
    assert len(bucket.ranges) == 5


def test_only_missing_ranges_are_fetched_when_a_download_was_stopped(served, tmp_path, monkeypatch):
    bucket, client = served
    monkeypatch.setattr(ranges, "SIDE_BY_SIDE", 1)
    usual = ranges._range

    def stopped(blob, generation, start, end, patience):
        if start == 600:
            raise KeyboardInterrupt
        return usual(blob, generation, start, end, patience)

    monkeypatch.setattr(ranges, "_range", stopped)
    with pytest.raises(KeyboardInterrupt):
        fetch(URI, tmp_path, client=client, patience=QUICK)
    assert not (tmp_path / "log.csv").exists()
    monkeypatch.setattr(ranges, "_range", usual)
    bucket.ranges.clear()
    assert fetch(URI, tmp_path, client=client, patience=QUICK).read_bytes() == CONTENT
    assert sorted(bucket.ranges) == [600, 900]


def test_download_begins_anew_when_the_object_was_replaced_meanwhile(served, tmp_path, monkeypatch):
    bucket, client = served
    old = bucket.objects["day/log.csv"].generation
    (tmp_path / f".log.csv.{old}.partial").write_bytes(CONTENT)
    (tmp_path / f".log.csv.{old}.ranges").write_text("1000 300\n0\n300\n600\n900\n")
    put(bucket, CONTENT[::-1])
    assert fetch(URI, tmp_path, client=client, patience=QUICK).read_bytes() == CONTENT[::-1]
    assert len(bucket.ranges) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]


def test_nothing_is_left_when_other_bytes_arrive_than_the_checksum_is_of(served, tmp_path):
    bucket, client = served
    bucket.damage_next = 100
    with pytest.raises(
        SourceMissingError, match=r"could not be downloaded \(crc32c is .*try again"
    ):
        fetch(URI, tmp_path, client=client, patience=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_what_is_noted_does_not_count_when_the_bytes_are_gone(served, tmp_path):
    bucket, client = served
    generation = bucket.objects["day/log.csv"].generation
    (tmp_path / f".log.csv.{generation}.ranges").write_text("1000 300\n0\n300\n600\n900\n")
    assert fetch(URI, tmp_path, client=client, patience=QUICK).read_bytes() == CONTENT


def test_downloads_leave_each_other_alone_when_names_begin_alike(served, tmp_path):
    bucket, client = served
    names = ["model", "model.bin", "model.7", "m[o]del"]
    for name in names:
        bucket.objects[f"day/{name}"] = Stored(CONTENT, bucket.generation, {})
    with ThreadPoolExecutor(4) as pool:
        uris = [f"gs://logs/day/{name}" for name in names * 2]  # each by two at once
        found = list(
            pool.map(lambda uri: fetch(uri, tmp_path, client=client, patience=QUICK), uris)
        )
    assert all(path.read_bytes() == CONTENT for path in found)
    assert {file.name for file in tmp_path.iterdir()} == set(names)
