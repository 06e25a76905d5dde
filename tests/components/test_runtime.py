import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.runtime import (
    CHECKPOINTS_VARIABLE,
    EVENTS_VARIABLE,
    ROOT,
    TIMEOUT_VARIABLE,
    checkpoint_directory,
    hold,
    step,
)
from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.errors import DataError


@step("make_thing", outputs=("thing",), label="part")
def make_thing(progress, part: str, thing: str):
    progress.update(1, 2, "half")
    progress.say("a word")
    if part == "bad":
        raise DataError("log.csv: 3 columns, expected 4")
    if part == "broken":
        raise ZeroDivisionError("by zero")
    if part == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "/small/thing")
    if part == "told by a library":
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with publish(Path(thing), "thing"):
        pass
    return {"headline": "made", "unknown": None}


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_VARIABLE, str(path))
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_step_reports_its_life_when_somebody_listens(tmp_path: Path, events: Path) -> None:
    metadata = make_thing("0/2", str(tmp_path / "thing"))
    told = read(events)
    assert [event["event"] for event in told] == ["started", "progress", "message", "finished"]
    assert {event["step"] for event in told} == {"make_thing[0/2]"}
    assert told[-1]["metadata"] == metadata
    assert told[-1]["outputs"] == {"thing": str(tmp_path / "thing")}


def test_metadata_hold_time_memory_and_the_digest_of_each_output(tmp_path: Path) -> None:
    metadata = make_thing("0/2", str(tmp_path / "thing"))
    assert metadata["digests"] == {"thing": open_artifact(tmp_path / "thing").digest}
    assert metadata["headline"] == "made"
    assert "unknown" not in metadata
    assert metadata["seconds"] >= 0
    assert metadata["peak_rss_mb"] > 1


def test_expected_error_becomes_one_line_and_its_exit_code(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        make_thing("bad", str(tmp_path / "thing"))
    assert stopped.value.code == 3
    assert capsys.readouterr().err == "make_thing[bad]: log.csv: 3 columns, expected 4\n"
    failed = read(events)[-1]
    assert failed["event"] == "failed"
    assert failed["message"] == "log.csv: 3 columns, expected 4"
    assert failed["exit_code"] == 3


@pytest.mark.parametrize(
    "value", ["2h", "", "0", "0.0", "-1", "1e3", "nan", "inf", "527041", "\u0661", "1."]
)
def test_timeout_is_named_when_it_is_no_number_of_minutes(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, value)
    with pytest.raises(SystemExit) as stopped:
        make_thing("0/2", str(tmp_path / "thing"))
    assert stopped.value.code == 2
    assert f"SLMREC_TIMEOUT_MINUTES is '{value}'" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0.5", "90", "527040"])
def test_a_step_runs_when_its_timeout_is_a_part_of_a_minute_or_a_year(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, value)
    make_thing("0/2", str(tmp_path / "thing"))


def test_a_run_is_held_while_a_step_of_it_works(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    with hold(events), events.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with events.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_step_works_when_its_events_cannot_be_held(tmp_path: Path) -> None:
    with hold(tmp_path / "absent" / "events.jsonl"):
        assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("full", "/small/thing: No space left on device"),
        ("told by a library", "I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line_whoever_tells_of_it(
    part: str, what: str, tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        make_thing(part, str(tmp_path / "thing"))
    assert stopped.value.code == 4
    cure = "; make room there and run the same command again, what was finished stays"
    assert capsys.readouterr().err == f"make_thing[{part}]: {what}{cure}\n"
    assert read(events)[-1]["message"] == what + cure


def test_unexpected_error_keeps_its_traceback_and_is_reported(tmp_path: Path, events: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        make_thing("broken", str(tmp_path / "thing"))
    assert read(events)[-1]["message"] == "ZeroDivisionError: by zero"


def test_step_prints_to_standard_error_when_nobody_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(EVENTS_VARIABLE, raising=False)
    make_thing("0/2", str(tmp_path / "thing"))
    assert "make_thing[0/2]: a word" in capsys.readouterr().err


def artifact(digest: str) -> Artifact:
    return Artifact(Path("somewhere"), "sequences", digest, {}, {})


def test_checkpoints_have_a_directory_for_each_step_config_and_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, str(tmp_path))
    inputs = {"sequences": artifact("a"), "teacher": artifact("b")}
    place = checkpoint_directory("train_teacher", "{}", inputs)
    assert place is not None
    assert place.parent == tmp_path
    assert place.name.startswith("train_teacher-")
    assert place == checkpoint_directory("train_teacher", "{}", dict(reversed(inputs.items())))
    others = [
        checkpoint_directory("distill_student", "{}", inputs),
        checkpoint_directory("train_teacher", '{"layers":2}', inputs),
        checkpoint_directory("train_teacher", "{}", inputs | {"teacher": artifact("c")}),
    ]
    assert len({place, *others}) == 4


def test_nothing_is_kept_when_nobody_set_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHECKPOINTS_VARIABLE, raising=False)
    assert checkpoint_directory("train_teacher", "{}", {}) is None


@pytest.mark.parametrize("told", [{TIMEOUT_VARIABLE: "5"}, {}])
def test_garbage_is_collected_while_a_step_works_and_not_before_or_after(told):
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(len(gc.get_objects()) < 1000))\n"
        "import components.runtime as runtime; print(gc.isenabled())\n"
        "look = lambda progress: {'collects': gc.isenabled(), 'looks at': len(gc.get_objects())}\n"
        "found = runtime.step('look')(look)()\n"
        "print(found['collects'], found['looks at'] < 1000)"
    )
    others = {name: value for name, value in os.environ.items() if name != TIMEOUT_VARIABLE}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=others | told, capture_output=True, text=True, check=True
    )
    is_step = bool(told)
    assert done.stdout.split() == [str(found) for found in (not is_step, True, is_step, is_step)]
