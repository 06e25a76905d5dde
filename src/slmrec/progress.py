"""How long work tells the world how far it is.

A function that takes a while accepts a `Progress` and calls it; what becomes of the report (a bar,
a log line, nothing) is the caller's business.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from slmrec.visible import visible


class Progress(Protocol):
    """Receives reports from a running function."""

    def update(self, done: float, total: float, note: str = "") -> None:
        """`done` of `total` units are finished; `note` carries the figure that matters now."""
        ...

    def say(self, message: str) -> None:
        """Something the user should know, one line."""
        ...


class Silent:
    """Ignores every report."""

    def update(self, done: float, total: float, note: str = "") -> None:
        """Ignore."""

    def say(self, message: str) -> None:
        """Ignore."""


class LogLines:
    """Prints to standard error, a line for each message and at most one every few seconds else."""

    def __init__(self, name: str, every_seconds: float = 10.0) -> None:
        self._name = name
        self._every = every_seconds
        self._started = self._last = time.monotonic()
        self._share = 0.0

    def update(self, done: float, total: float, note: str = "") -> None:
        """Print the share done and an estimate of the time left."""
        now = time.monotonic()
        share = done / max(total, 1)
        if share < self._share:  # another part of the work begins
            self._started = now
        self._share = share
        if now - self._last < self._every and done < total:
            return
        self._last = now
        left = (now - self._started) * (total - done) / done if done else 0.0
        text = f"{100 * done / max(total, 1):.0f} %, {left:.0f} s left {note}".rstrip()
        self._print(text)

    def say(self, message: str) -> None:
        """Print the message."""
        self._print(message)

    def _print(self, text: str) -> None:
        # One line, whatever a title in it would make of the log.
        print(f"{self._name}: {visible(text, keep='')}", file=sys.stderr, flush=True)


class EventFile:
    """Appends events, one JSON line each, for another process to show.

    A line is one `write` of less than a page to a file opened for appending, so several writers do
    not mix their lines.
    """

    def __init__(self, path: Path, name: str, every_seconds: float = 0.2) -> None:
        self._path = path
        self._name = name
        self._every = every_seconds
        self._last = 0.0

    def update(self, done: float, total: float, note: str = "") -> None:
        """Append a progress event, a few a second at most."""
        now = time.monotonic()
        if now - self._last >= self._every or done >= total:
            self._last = now
            self.event("progress", {"done": done, "total": total, "note": note})

    def say(self, message: str) -> None:
        """Append a message event."""
        self.event("message", {"text": message})

    def event(self, kind: str, content: Mapping[str, object]) -> None:
        """Append one event."""
        line = json.dumps({"event": kind, "step": self._name, **content}, ensure_ascii=False)
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:  # the work is worth more than its report
            print(f"{self._path}: {error}", file=sys.stderr)
