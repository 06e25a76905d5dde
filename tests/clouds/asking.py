"""Asks the services' own code, which lives in an environment of its own: `make test-clouds`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.paths import ROOT

PYTHON = Path(os.environ.get("SLMREC_CLOUDS", ROOT / ".venv-clouds" / "bin" / "python"))


class Refused(Exception):
    """The service's code raised; the message is the end of its traceback."""


def ask(verb: str, case: Any) -> Any:
    """What `judge.py` answers. Raises `Refused`; fails the test without the environment."""
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON}: no such file; 'make test-clouds' makes the environment")
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name("judge.py")), verb],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        input=json.dumps(case),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Refused(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])
