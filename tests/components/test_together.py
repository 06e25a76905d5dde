"""A step whose work several processes do, started as the orchestrator starts it."""

import json
from pathlib import Path

import pytest

from components.runtime import EVENTS_VARIABLE, PROCESSES_VARIABLE
from slmrec.artifacts import open_artifact
from tests.components.together import run


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES_VARIABLE, "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_first_process_publishes_and_reports_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_VARIABLE, str(events))
    metadata = run("well", str(tmp_path / "thing"))
    thing = open_artifact(tmp_path / "thing", "thing")
    assert thing.json("who.json") == {"rank": 0, "of": [0.0, 1.0]}
    assert metadata["headline"] == "made by 0"
    assert metadata["digests"] == {"thing": thing.digest}
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["event"] for event in told] == ["started", "message", "finished"]
    assert told[1] == {"event": "message", "step": "make_together", "text": "from 0"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl", "thing"]


def test_error_of_one_process_is_the_error_of_the_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("bad", str(tmp_path / "thing"))
    assert stopped.value.code == 3
    assert capsys.readouterr().err == "make_together: log.csv: 3 columns, expected 4\n"


def test_step_says_so_when_a_process_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("killed", str(tmp_path / "thing"))
    assert stopped.value.code == 4
    assert (
        "one of 2 processes that trained together ended without a word" in capsys.readouterr().err
    )


@pytest.mark.parametrize("value", ["0", "many", ""])
def test_number_of_processes_is_refused_when_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROCESSES_VARIABLE, value)
    with pytest.raises(SystemExit) as stopped:
        run("well", str(tmp_path / "thing"))
    assert stopped.value.code == 2
    assert f"SLMREC_PROCESSES is '{value}', expected" in capsys.readouterr().err
