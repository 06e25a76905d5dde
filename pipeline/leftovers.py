"""What runs that were killed have left behind, and how one that lives is told from them."""

import fcntl
import shutil
import time
from pathlib import Path

from pipeline.home import Home

HOUR = 3600.0
TEMPORARY = "tmp"
"""A run's folder for what its steps need for a moment; a run that ends removes it."""


def sweep(home: Home) -> None:
    """Remove temporary folders and unfinished artifacts of runs that were killed.

    A run lives while it, or a step of it, holds its events (`components.runtime.hold`).
    """
    for temporary in (home.path / "runs").glob(f"*/{TEMPORARY}"):
        run = temporary.parent
        if _is_dead(run / "events.jsonl"):
            tidy(home, run.name)
    for entry in home.task_cache.glob(".*"):
        try:
            if time.time() - entry.stat().st_mtime > HOUR:
                entry.unlink()
        except FileNotFoundError:  # another run put it in its place, or removed it
            continue


def tidy(home: Home, run_id: str) -> None:
    """Remove the temporary folder of a run that has ended, and what steps that were killed left."""
    for unfinished in (home.artifacts / run_id).rglob(".*.partial-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(home.run(run_id) / TEMPORARY, ignore_errors=True)


def _is_dead(events: Path) -> bool:
    """Whether nobody holds a run's events; a disk that knows no locks says no."""
    try:
        with events.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
