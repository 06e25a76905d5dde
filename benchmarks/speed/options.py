"""What every case is told: which log, how many turns and threads, which peers."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.turns import ours, run


@dataclass(frozen=True)
class Options:
    """Of one call of `make bench`."""

    log: str
    """Interactions, as `python -m pipeline run` takes them."""
    folder: Path
    """Where what is made of the log lies, kept for the next time."""
    turns: int
    threads: int
    peers: Sequence[str]
    large: bool
    """Also what takes an hour: a hundred million interactions, a million items."""

    def prepare(self, *, models: bool) -> Mapping[str, Any]:
        """Make sequences, and models where they are needed; how large the log is."""
        print(f"preparing {self.folder} …", file=sys.stderr, flush=True)
        wanted = ["--models"] if models else []
        return run(ours("prepare", "prepare", self.log, str(self.folder), *wanted))

    def told(self) -> dict[str, Any]:
        """For the record; a log is called by its file, since a folder is of one machine."""
        return {
            "log": Path(self.log).name,
            "turns": self.turns,
            "threads": self.threads,
        }
