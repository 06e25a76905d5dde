"""How far several transfers at once are, told as one."""

import threading

from slmrec.progress import Progress
from slmrec.storage.ranges import Report


class Tally:
    """Adds up bytes of transfers that run side by side; `progress` hears the sum, in MB."""

    def __init__(self, progress: Progress | None, total: int, note: str) -> None:
        self._progress = progress
        self._total = total
        self._note = note
        self._done: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Report:
        """The report of one of the transfers."""

        def report(done: int, _: int) -> None:
            with self._lock:
                self._done[name] = done
                there = sum(self._done.values())
                if self._progress is not None:
                    self._progress.update(
                        there, self._total, f"{self._note}: {there / 1e6:,.1f} MB"
                    )

        return report
