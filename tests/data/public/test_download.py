import json

import pytest

from slmrec.data.public.download import BLOCK, download, session
from slmrec.errors import DataError, SourceMissingError
from slmrec.progress import Silent

CONTENT = bytes(range(256)) * 4000
LIMIT = 10_000_000


@pytest.fixture
def fetch(loopback, tmp_path):
    """Fetch the server's file `log` into the test's folder and give its bytes."""
    loopback.files["log"] = CONTENT

    def run(limit: int = LIMIT) -> bytes:
        with session() as http:
            download(
                f"{loopback.url}/log",
                tmp_path / "log",
                most_bytes=limit,
                progress=Silent(),
                http=http,
            )
        return (tmp_path / "log").read_bytes()

    return run


def ranges(loopback) -> list[str]:
    return [wanted for _, wanted in loopback.asked]


def behind(sent: int) -> str:
    """What is asked for when `sent` bytes of whole blocks are there."""
    return f"bytes={sent}-"


def test_a_file_is_there_alone_when_everything_arrived(fetch, tmp_path):
    assert fetch() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_it_goes_on_behind_what_it_has_when_the_connection_breaks(fetch, loopback):
    loopback.break_after = [4 * BLOCK + 10, 5 * BLOCK]
    assert fetch() == CONTENT
    assert ranges(loopback) == ["", behind(4 * BLOCK), behind(9 * BLOCK)]


def test_another_call_goes_on_where_the_last_one_gave_up(fetch, loopback, tmp_path):
    loopback.break_after = [3 * BLOCK, 0, 0, 0]
    with pytest.raises(SourceMissingError, match="goes on where this one stopped"):
        fetch()
    assert not (tmp_path / "log").exists()
    assert (tmp_path / ".log.partial").stat().st_size == 3 * BLOCK
    loopback.asked.clear()
    assert fetch() == CONTENT
    assert ranges(loopback) == [behind(3 * BLOCK)]


def test_it_begins_anew_when_the_file_is_another_one(fetch, loopback):
    loopback.break_after = [300_000, 0, 0, 0]
    with pytest.raises(SourceMissingError):
        fetch()
    loopback.files["log"] = CONTENT[::-1]
    loopback.tag = '"two"'
    assert fetch() == CONTENT[::-1]


def test_it_begins_anew_when_the_server_gives_no_parts(fetch, loopback):
    loopback.ranges = False
    loopback.break_after = [300_000]
    assert fetch() == CONTENT


def test_it_does_not_go_on_when_the_tag_is_weak(fetch, loopback):
    loopback.tag = 'W/"one"'
    loopback.break_after = [300_000]
    assert fetch() == CONTENT
    assert ranges(loopback) == ["", ""]


def test_it_begins_anew_when_the_file_became_shorter(fetch, loopback, tmp_path):
    origin = {"url": f"{loopback.url}/log", "validator": '"one"', "size": 2 * len(CONTENT)}
    (tmp_path / ".log.partial").write_bytes(CONTENT + b"more")
    (tmp_path / ".log.partial.json").write_text(json.dumps(origin))
    assert fetch() == CONTENT


def test_nothing_is_asked_when_only_the_last_step_was_missing(fetch, loopback, tmp_path):
    origin = {"url": f"{loopback.url}/log", "validator": '"one"', "size": len(CONTENT)}
    (tmp_path / ".log.partial").write_bytes(CONTENT)
    (tmp_path / ".log.partial.json").write_text(json.dumps(origin))
    assert fetch() == CONTENT
    assert loopback.asked == []


def test_a_partial_file_of_unknown_origin_is_not_built_upon(fetch, loopback, tmp_path):
    (tmp_path / ".log.partial").write_bytes(b"something else")
    (tmp_path / ".log.partial.json").write_text("{")
    assert fetch() == CONTENT
    assert ranges(loopback) == [""]


def test_it_waits_and_asks_again_when_the_server_is_busy(fetch, loopback):
    loopback.answers = [503, 429]
    assert fetch() == CONTENT


def test_a_refusal_is_told_at_once(fetch, loopback):
    loopback.files.clear()
    with pytest.raises(SourceMissingError, match=r"/log: could not be fetched .*answers 404"):
        fetch()
    assert len(loopback.asked) == 1


def test_a_file_that_says_it_is_too_large_is_not_begun(fetch, tmp_path):
    with pytest.raises(DataError, match="expected at most 1; allow more"):
        fetch(limit=1_000_000)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_hides_its_size_stops_at_the_limit(fetch, loopback, tmp_path):
    loopback.length = ""
    with pytest.raises(DataError, match="expected at most 1"):
        fetch(limit=1_000_000)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_no_number_does_not_matter(fetch, loopback):
    loopback.length = ""
    assert fetch() == CONTENT


def test_a_full_disk_is_told_before_the_download(fetch, loopback, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("slmrec.data.public.download.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="make room"):
        fetch()


def test_the_cause_is_named_when_nobody_answers(tmp_path, loopback):
    with session() as http, pytest.raises(SourceMissingError, match="Failed to resolve"):
        download(
            "http://nowhere.invalid/log",
            tmp_path / "log",
            most_bytes=LIMIT,
            progress=Silent(),
            http=http,
        )
