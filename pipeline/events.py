"""Following the events that steps append to a file."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class EventReader:
    """Calls a function with each event, from its own thread, while the block runs."""

    def __init__(self, path: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
        self.path = path
        self.failure: dict[str, Any] | None = None
        """The first failure that a step reported."""
        self._on_event = on_event
        self._offset = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        path.touch()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.drain()

    def drain(self) -> None:
        """Deliver every whole line that is there now."""
        with self._lock:
            with self.path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offset += len(whole)
            for line in whole.splitlines():
                event = json.loads(line)
                if event["event"] == "failed" and self.failure is None:
                    self.failure = event
                self._on_event(event)

    def _follow(self) -> None:
        while not self._stop.wait(0.1):
            self.drain()
