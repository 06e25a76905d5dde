"""What a study tells while it works: each piece that begins, goes on and ends, and the time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slmrec.progress import EventFile, Progress


@dataclass
class Piece:
    """A piece of work under way."""

    progress: Progress
    headline: str = ""
    """The figure that matters, known at its end."""


class Report:
    """Appends a study's events to a file, as steps of the pipeline do."""

    def __init__(self, events: Path, study: str) -> None:
        self._events = events
        self._whole = EventFile(events, f"study {study}")
        self._trainings = self._done = 0
        self._seconds: list[float] = []

    @contextmanager
    def study(self) -> Iterator[None]:
        """Around the whole study."""
        self._whole.event("started", {})
        started = time.monotonic()
        yield
        self._finish(
            self._whole, started, f"{self._done} trainings, {len(self._seconds)} of them now"
        )

    def expect(self, trainings: int) -> None:
        """Say how many trainings there will be, kept ones included."""
        self._trainings = trainings

    def say(self, message: str) -> None:
        """Something the user should know, one line."""
        self._whole.say(message)

    @contextmanager
    def piece(self, name: str, *, trains: bool) -> Iterator[Piece]:
        """Around one piece; a training counts for the time left."""
        file = EventFile(self._events, name)
        file.event("started", {})
        started = time.monotonic()
        piece = Piece(file)
        yield piece
        self._finish(file, started, piece.headline)
        if trains:
            self._seconds.append(time.monotonic() - started)
            self._advance()

    def kept(self, name: str, *, trains: bool) -> None:
        """Tell of a piece that an earlier start has finished."""
        if trains:
            EventFile(self._events, name).event("cached", {"metadata": {}, "outputs": {}})
            self._advance()

    def _advance(self) -> None:
        self._done += 1
        left = max(self._trainings - self._done, 0)
        note = f"{left} trainings left"
        if self._seconds and left:
            minutes = left * sum(self._seconds) / len(self._seconds) / 60
            note += f", about {minutes:.0f} min"
        self._whole.update(self._done, self._trainings, note)

    @staticmethod
    def _finish(file: EventFile, started: float, headline: str) -> None:
        metadata = {"seconds": round(time.monotonic() - started, 3), "headline": headline}
        file.event("finished", {"metadata": metadata, "outputs": {}})
