"""What the tests of promises share: where their counts go."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return
        content = {
            "row": row,
            "promise": promise,
            "asked": asked,
            "measured": measured,
            "seconds": round(time.monotonic() - started, 1),
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (Path(folder) / f"{row}.json").write_text(text + "\n", encoding="utf-8")

    return keep
