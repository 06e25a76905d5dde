"""How fast a training goes at the moment."""

import time
from collections.abc import Callable

HALF_LIFE_SECONDS = 3.0


class Tempo:
    """Positions a second, the last seconds counting most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._positions = self._seconds = 0.0

    def restart(self) -> None:
        """Do not count the time since the last step: it went into something else."""
        self._last = self._clock()

    def after(self, positions: int) -> float:
        """The tempo after a step of so many positions."""
        now = self._clock()
        spent = now - self._last
        kept = 0.5 ** (spent / HALF_LIFE_SECONDS)
        self._last = now
        self._positions = kept * self._positions + positions
        self._seconds = kept * self._seconds + spent
        return self._positions / max(self._seconds, 1e-9)
