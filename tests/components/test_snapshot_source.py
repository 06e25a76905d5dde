from datetime import UTC, datetime, timedelta

import pytest

from components.snapshot_source.step import run

WHEN = "2026-01-02T03:04:05+00:00"


def test_the_digest_comes_back_when_the_source_exists(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("x")
    metadata = run(str(log), "", str(tmp_path / "registry"), WHEN)
    assert len(metadata["digest"]) == 64
    assert metadata["previous"] == ""
    assert metadata["digest"][:12] in metadata["headline"]
    assert metadata["started"] == WHEN


def test_the_run_started_now_when_a_schedule_started_it(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    metadata = run("sample:", "", str(tmp_path / "registry"), "")
    assert before <= datetime.fromisoformat(metadata["started"]) < before + timedelta(minutes=5)


def test_the_process_ends_with_two_when_the_source_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(str(tmp_path / "absent.csv"), "", str(tmp_path / "registry"), WHEN)
    assert caught.value.code == 2
    assert "absent.csv: no such file" in capsys.readouterr().err
