import hashlib
import io
import json
import random
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

from slmrec.data.public.download import BLOCK
from slmrec.data.public.fetch import SOURCE, fetch_log, find_log
from slmrec.data.public.logs import LOGS, PublicLog, RemoteFile
from slmrec.errors import ConfigError, DataError, SourceMissingError
from slmrec.progress import Silent

RATINGS = b"userId,movieId,rating,timestamp\n1,10,4.5,1600000000\n"
MOVIES = b"movieId,title,genres\n10,Toy Story,Comedy\n"


def archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            # Dated, so that the bytes do not depend on the clock.
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def movies_zip() -> bytes:
    return archive(
        **{"tiny/ratings.csv": RATINGS, "tiny/movies.csv": MOVIES, "tiny/../../evil": b"x"}
    )


def log_of(content: bytes | None = None) -> PublicLog:
    return PublicLog(
        name="tiny",
        what="two tables",
        size="1 / 1 / 1",
        megabytes=1,
        terms="none",
        files=(
            RemoteFile(
                "https://example.org/data/tiny.zip",
                hashlib.md5(content).hexdigest() if content else "",
            ),
        ),
        members=("tiny/ratings.csv", "tiny/movies.csv"),
        interactions="ratings.csv",
        items="movies.csv",
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def fetch(loopback, tmp_path):
    """Fetch a log from the loopback server."""
    loopback.files["tiny.zip"] = movies_zip()

    def run(log: PublicLog, **options):
        return fetch_log(log, tmp_path, Silent(), mirror=f"{loopback.url}/", **options)

    return run


def test_the_members_lie_in_one_folder_with_their_origin(fetch, loopback, tmp_path):
    fetched = fetch(log_of(movies_zip()))
    assert fetched.fresh
    assert fetched.interactions == tmp_path / "tiny" / "ratings.csv"
    assert (fetched.interactions.read_bytes(), fetched.items.read_bytes()) == (RATINGS, MOVIES)
    assert names(tmp_path / "tiny") == {"ratings.csv", "movies.csv", SOURCE}
    source = json.loads((tmp_path / "tiny" / SOURCE).read_text())
    assert source["terms"] == "none"
    (download,) = source["downloads"]
    assert download["url"] == f"{loopback.url}/tiny.zip"
    assert download["md5_verified"] is True
    assert download["sha256"] == hashlib.sha256(movies_zip()).hexdigest()
    assert {file["name"]: file["bytes"] for file in source["files"]} == {
        "ratings.csv": len(RATINGS),
        "movies.csv": len(MOVIES),
    }


def test_nothing_is_fetched_when_it_is_there_already(fetch, loopback):
    fetch(log_of())
    loopback.asked.clear()
    again = fetch(log_of())
    assert not again.fresh
    assert loopback.asked == []


def test_a_file_that_was_altered_here_is_named(fetch):
    fetched = fetch(log_of())
    fetched.interactions.write_bytes(RATINGS + b"2,10,1.0,1600000001\n")
    with pytest.raises(DataError, match=r"changed since it was fetched: ratings\.csv"):
        fetch(log_of())


def test_a_folder_of_somebody_else_is_left_alone(fetch, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine").write_text("mine")
    with pytest.raises(DataError, match="not fetched by this command"):
        fetch(log_of())
    assert names(tmp_path / "tiny") == {"mine"}


def test_a_wrong_checksum_leaves_nothing_to_build_upon(fetch, loopback, tmp_path):
    with pytest.raises(DataError, match=r"MD5 .* expected .* as its publisher states"):
        fetch(log_of(b"what was published"))
    assert not (tmp_path / "tiny").exists()
    loopback.files["tiny.zip"] = movies_zip()
    assert fetch(log_of(movies_zip())).fresh


@pytest.mark.parametrize(
    "content",
    [
        b"<html>moved</html>",
        movies_zip()[:-30],
        archive(**{"tiny/ratings.csv": RATINGS}),
        movies_zip()[:60] + b"XXXX" + movies_zip()[64:],
    ],
    ids=["a page", "cut short", "a member is missing", "other bytes"],
)
def test_a_broken_archive_is_removed_and_the_next_one_serves(fetch, loopback, tmp_path, content):
    loopback.files["tiny.zip"] = content
    with pytest.raises(DataError, match=r"tiny\.zip: not the archive"):
        fetch(log_of())
    assert not (tmp_path / "tiny").exists()
    loopback.files["tiny.zip"] = movies_zip()
    assert fetch(log_of()).fresh


def test_an_archive_that_unpacks_to_too_much_is_refused(fetch, loopback, tmp_path):
    bomb = archive(**{"tiny/ratings.csv": b"0" * 30_000_000, "tiny/movies.csv": MOVIES})
    loopback.files["tiny.zip"] = bomb
    with pytest.raises(DataError, match="unpacks to 30 MB, expected at most 20"):
        fetch(log_of(), max_megabytes=1)
    assert not (tmp_path / "tiny").exists()


def test_an_interrupted_fetch_goes_on(fetch, loopback, tmp_path):
    noise = random.Random(1).randbytes(4 * BLOCK)
    members = {"tiny/noise": noise, "tiny/ratings.csv": RATINGS, "tiny/movies.csv": MOVIES}
    loopback.files["tiny.zip"] = archive(**members)
    loopback.break_after = [2 * BLOCK, 0, 0, 0]
    with pytest.raises(SourceMissingError):
        fetch(log_of())
    assert names(tmp_path) >= {".tiny.partial"}
    assert not (tmp_path / "tiny").exists()
    loopback.asked.clear()
    assert fetch(log_of()).fresh
    assert loopback.asked == [("/tiny.zip", f"bytes={2 * BLOCK}-")]
    assert not (tmp_path / ".tiny.partial").exists()


def test_two_at_once_do_not_mix(fetch, tmp_path):
    with (
        FileLock(tmp_path / ".tiny.lock"),
        pytest.raises(DataError, match="another process is fetching it"),
    ):
        fetch(log_of())


def test_an_unknown_name_is_told_those_that_exist():
    with pytest.raises(ConfigError, match="'ml-20m', expected one of: ml-100k, ml-1m"):
        find_log("ml-20m")


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
def test_a_listed_log_is_complete(log: PublicLog):
    served = {file.url.rsplit("/", 1)[1] for file in log.files}
    unpacked = {Path(member).name for member in log.members}
    assert {log.interactions, log.items} <= served | unpacked
    assert log.terms
    assert all(file.url.startswith("https://") for file in log.files)
    assert bool(log.members) == any(name.endswith(".zip") for name in served)
