"""What goes wrong between a client and the strict Cloud Storage of `cloud.py`, drawn from a seed."""

import random
import time
from collections import Counter
from dataclasses import dataclass, field

BEFORE = ("429", "500", "503", "reset", "stall")
"""Faults of requests that were not done: a status, a connection that breaks, one that says nothing."""
AFTER = ("lost", "late", "busy", "truncated", "short")
"""Faults of requests that were done: no answer, one that comes too late, a 503, half an answer, and
half of one that claims to be whole."""
UPLOAD = ("part", "less")
"""Faults of chunks: half of one is kept before the connection breaks, or is kept and said so."""


@dataclass
class Plan:
    """Lets a share of all requests fail."""

    seed: int
    rate: float
    stall_seconds: float
    """Longer than the client waits."""
    kinds: tuple[str, ...] = (*BEFORE, *AFTER, *UPLOAD)
    counts: Counter[str] = field(default_factory=Counter)
    requests: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def draw(self, chunk: bool) -> str:
        """The fault of the next request; empty where it has none."""
        self.requests += 1
        if self._random.random() >= self.rate:
            return ""
        kind = self._random.choice([one for one in self.kinds if chunk or one not in UPLOAD])
        self.counts[kind] += 1
        return kind

    def stall(self) -> None:
        """Say nothing for longer than the client waits."""
        time.sleep(self.stall_seconds)
