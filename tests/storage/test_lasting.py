"""Downloads that another process goes on with."""

import os
import subprocess
import sys
import textwrap

import pytest

from components.ingest_interactions.step import run as ingest_step
from components.runtime import DOWNLOADS_VARIABLE
from slmrec.artifacts import open_artifact
from slmrec.config import IngestInteractions
from slmrec.data.source import snapshot
from slmrec.storage import ranges
from slmrec.storage.lasting import lasting
from tests.storage.cloud import Stored, serve_bucket

RANGE = 300
LINES = [f"u{number % 7},i{number % 5},{1_600_000_000 + number}" for number in range(80)]
LOG = "\n".join(["user,item,timestamp", *LINES]).encode()
STOPPED = textwrap.dedent(
    """
    import os, sys, time
    from components.ingest_interactions.step import run
    from slmrec.storage import ranges

    ranges.RANGE_BYTES, ranges.SIDE_BY_SIDE = 300, 1
    fetch, note = ranges._range, ranges._Partial.note

    def held(blob, generation, start, end, patience):
        if start == 900:
            time.sleep(60)  # killed before it is over
        return fetch(blob, generation, start, end, patience)

    def killed(partial, start):
        note(partial, start)
        if start == 600:
            os._exit(9)

    ranges._range, ranges._Partial.note = held, killed
    run(*sys.argv[1:])
    """
)


def test_a_download_goes_on_in_another_process_when_the_first_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "RANGE_BYTES", RANGE)
    monkeypatch.setenv(DOWNLOADS_VARIABLE, str(tmp_path / "downloads"))
    with serve_bucket("logs") as (bucket, address):
        bucket.objects["log.csv"] = Stored(LOG, 1, {})
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        digest = snapshot("gs://logs/log.csv", "")
        config = IngestInteractions().to_json()
        asked = ["gs://logs/log.csv", "", digest, config, str(tmp_path / "log")]
        killed = subprocess.run([sys.executable, "-c", STOPPED, *asked], env=os.environ)
        assert killed.returncode == 9
        assert bucket.ranges == [0, 300, 600]
        assert not (tmp_path / "log").exists()
        ingest_step(*asked)
        assert sorted(bucket.ranges[3:]) == list(range(900, len(LOG), RANGE))
    assert open_artifact(tmp_path / "log").properties["rows"] == len(LINES)
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [".lock"]


def test_a_folder_stays_when_the_work_fails_and_goes_when_another_begins(tmp_path):
    def fail():
        with lasting(tmp_path, "one") as place:
            (place / "part").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with lasting(tmp_path, "one") as place:
        assert (place / "part").read_text() == "half"
        with lasting(tmp_path, "one") as other:
            assert other is None  # somebody is at it
    assert not (tmp_path / "one").exists()
    with pytest.raises(KeyboardInterrupt):
        fail()
    with lasting(tmp_path, "two"):
        assert not (tmp_path / "one").exists()


def test_there_is_no_folder_when_nobody_gives_one():
    with lasting(None, "key") as place:
        assert place is None
