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
        if not _is_dead(run / "events.jsonl"):
            continue
        for unfinished in (home.artifacts / run.name).rglob(".*.partial-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
    for entry in home.task_cache.glob(".*"):
        try:
            if time.time() - entry.stat().st_mtime > HOUR:
                entry.unlink()
        except FileNotFoundError:  # another run put it in its place, or removed it
            continue


def _is_dead(events: Path) -> bool:
    """Whether nobody holds a run's events; a disk that knows no locks says no."""
    try:
        with events.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
