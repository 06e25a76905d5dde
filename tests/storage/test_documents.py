"""What a registry needs of storage, in a folder and in a bucket alike."""

import threading

import pytest

from slmrec.errors import ConfigError, SourceMissingError
from slmrec.storage.bucket import Bucket
from slmrec.storage.documents import ABSENT, Folder, open_documents
from tests.storage.cloud import QUICK, client_of, serve_bucket


@pytest.fixture
def served():
    with serve_bucket("models") as (bucket, address), client_of(address) as client:
        yield bucket, client


@pytest.fixture(params=["folder", "bucket"])
def documents(request, tmp_path):
    if request.param == "folder":
        yield Folder(tmp_path / "registry")
        return
    _, client = request.getfixturevalue("served")
    yield Bucket("gs://models/team/registry", client=client, patience=QUICK)


def test_a_document_is_read_as_it_was_written(documents):
    assert documents.read("a/b.json") is None
    assert documents.replace("a/b.json", b"1\r\n\r\n--x\n", ABSENT)
    assert documents.read("a/b.json").content == b"1\r\n\r\n--x\n"
    assert documents.read("a") is None


def test_a_document_changes_only_from_the_generation_that_was_seen(documents):
    assert documents.replace("x", b"1", ABSENT)
    assert not documents.replace("x", b"2", ABSENT)
    first = documents.read("x")
    assert documents.replace("x", b"2", first.generation)
    assert not documents.replace("x", b"3", first.generation)
    assert documents.read("x").content == b"2"


def test_one_of_many_wins_when_all_saw_the_same(documents):
    documents.replace("x", b"0", ABSENT)
    seen = documents.read("x").generation
    won, start = [], threading.Barrier(8)

    def race(number):
        start.wait()
        if documents.replace("x", str(number).encode(), seen):
            won.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert documents.read("x").content == str(won[0]).encode()


def test_names_are_those_of_a_folder_and_below(documents, tmp_path):
    source = tmp_path / "file"
    source.write_bytes(b"content")
    documents.put_all(
        dict.fromkeys(("v/1/a", "v/1/sub/b", "v/10/a", "v/2/a", "w/1", "v/1/c"), source)
    )
    assert documents.names("v/1") == ["v/1/a", "v/1/c", "v/1/sub/b"]
    assert documents.names("v") == ["v/1/a", "v/1/c", "v/1/sub/b", "v/10/a", "v/2/a"]
    assert documents.names("nothing") == []
    assert documents.read_all(["v/1/a", "v/9/a"]) == {"v/1/a": b"content"}


def test_a_folder_is_fetched_whole(documents, tmp_path):
    source = tmp_path / "file"
    source.write_bytes(b"content")
    documents.put_all(dict.fromkeys(("v/1/a", "v/1/sub/b", "v/10/a"), source))
    folder = documents.fetch("v/1")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"a", "sub/b"}
    assert (folder / "sub" / "b").read_bytes() == b"content"


def test_what_is_removed_is_gone_and_the_rest_stays(documents):
    for name in ("v/1/a", "v/1/b", "v/2/a"):
        documents.replace(name, b"x", ABSENT)
    documents.remove(["v/1/a", "v/1/b", "v/1/never"])
    assert documents.names("v") == ["v/2/a"]
    assert documents.replace("v/1/a", b"y", ABSENT)


def test_a_killed_writers_file_is_no_document(tmp_path):
    folder = Folder(tmp_path)
    folder.replace("v/1/a", b"x", ABSENT)
    (tmp_path / "v" / "1" / ".b.77.partial").write_bytes(b"ha")
    assert folder.names("v") == ["v/1/a"]
    folder.remove(["v/1/a"])
    assert not (tmp_path / "v").exists()


def test_a_write_whose_answer_was_lost_is_no_conflict(served):
    bucket, client = served
    documents = Bucket("gs://models/registry", client=client, patience=QUICK)
    bucket.fail("POST", "/upload/", applied=True)
    assert documents.replace("x", b"1", ABSENT)
    assert sum(request.startswith("POST") for request in bucket.requests) == 2
    assert bucket.text("registry/x") == "1"


def test_a_refusal_of_the_service_names_the_document(served):
    bucket, client = served
    documents = Bucket("gs://models/registry", client=client, patience=QUICK)
    bucket.fail("GET", "/download/", 403)
    with pytest.raises(SourceMissingError, match="gs://models/registry/x: could not be read"):
        documents.read("x")


def test_a_bucket_that_is_not_there_is_no_empty_one(served):
    documents = Bucket("gs://modles/registry", client=served[1], patience=QUICK)
    with pytest.raises(SourceMissingError, match="gs://modles/registry/x: could not be read"):
        documents.read("x")


def test_bytes_that_were_damaged_on_the_way_are_refused(served):
    bucket, client = served
    documents = Bucket("gs://models/registry", client=client, patience=QUICK)
    documents.replace("x", b"content", ABSENT)
    bucket.damage_next = 100
    with pytest.raises(SourceMissingError, match="could not be read"):
        documents.read("x")


def test_a_name_that_climbs_is_not_fetched(served):
    bucket, client = served
    documents = Bucket("gs://models/registry", client=client, patience=QUICK)
    documents.replace("v/../../../../../../tmp/evil", b"x", ABSENT)
    bucket.objects["registry/v/../../evil"] = bucket.objects.popitem()[1]
    with pytest.raises(SourceMissingError, match="a name that leaves its folder"):
        documents.fetch("v")


@pytest.mark.parametrize("place", ["gs://", "gs:///x", "gs://models/../x"])
def test_a_place_is_refused_when_it_is_no_prefix(place, served):
    with pytest.raises(ConfigError, match="expected"):
        Bucket(place, client=served[1])


def test_a_place_is_a_folder_or_a_bucket(tmp_path, monkeypatch, served):
    assert isinstance(open_documents(tmp_path), Folder)
    monkeypatch.setattr("slmrec.storage.bucket.default_client", lambda: served[1])
    assert open_documents("gs://models/x").uri("y") == "gs://models/x/y"
    assert open_documents("gs://models").uri("y") == "gs://models/y"
