"""A step whose work several processes do, started as the orchestrator starts it."""

from pathlib import Path

import pytest

from components.runtime import PROCESSES_VARIABLE
from tests.components.together import run


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES_VARIABLE, "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


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
