"""What the tests of promises share: where their counts go."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.tiny import copy_code, finish, kill_group, start, started, wait_for

FOLDER_VARIABLE = "SLMREC_RELIABILITY"
"""Names the folder into which each promise's test of the whole writes what it counted."""
Tell = Callable[[int | str, str, str, str], None]


@pytest.fixture
def tell() -> Tell:
    """Keeps what a promise's test measured: `tell(row, promise, asked, measured)`, once at its end.

    Writes `<row>.json` (keys row, promise, asked, measured, seconds) into the folder that
    `SLMREC_RELIABILITY` names, from which the table of docs/reliability.md is made; nothing where it
    names none. A promise with tests in several files gives each its own row.
    """
    started = time.monotonic()

    def keep(row: int | str, promise: str, asked: str, measured: str) -> None:
        keep_row(row, promise, asked, measured, time.monotonic() - started)

    return keep


def keep_row(row: int | str, promise: str, asked: str, measured: str, seconds: float) -> None:
    """Write what was counted for a row, where somebody wants to know."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    content = {
        "row": row,
        "promise": promise,
        "asked": asked,
        "measured": measured,
        "seconds": round(seconds, 1),
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (Path(folder) / f"{row}.json").write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code whose gates a tiny model passes."""
    return copy_code(tmp_path_factory.mktemp("faults") / "code")


@pytest.fixture(scope="session")
def undisturbed(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tiny run that nothing disturbed, and one after it that had nothing to do."""
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    for _ in range(2):
        finish(start(code, home))
    return home


@pytest.fixture(scope="session")
def half(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the data steps of a tiny run, which was ended when these were done."""
    home = tmp_path_factory.mktemp("half") / "home"
    process = start(code, home)
    try:
        assert wait_for(lambda: "monitor_drift" in started(home), process, 600)
    finally:
        kill_group(process)
    return home
