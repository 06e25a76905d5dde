"""KFP's record of finished tasks, with a seal on each entry.

KFP checks nothing of what it reads there: a bit that flipped in an entry would give a step's results
another figure, or end the run.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from slmrec.artifacts import digest_file

Outputs = dict[str, Any]


class TaskCache(Protocol):
    """What is used of `kfp.local.cache.LocalCache`."""

    cache_root: str
    get: Callable[[str], Outputs | None]
    put: Callable[[str, Outputs], None]


def seal_entries(cache: TaskCache) -> None:
    """Have a cache write a digest beside each entry, and take an entry that has another for a miss."""
    get, put = cache.get, cache.put
    root = Path(cache.cache_root)

    def sealed_put(key: str, outputs: Outputs) -> None:
        put(key, outputs)
        aside = root / f".{key}.{os.getpid()}.seal"
        aside.write_text(digest_file(root / f"{key}.json"), encoding="ascii")
        aside.replace(root / f"{key}.seal")

    def checked_get(key: str) -> Outputs | None:
        entry = root / f"{key}.json"
        try:
            intact = (root / f"{key}.seal").read_bytes() == digest_file(entry).encode()
        except FileNotFoundError:
            return None  # never finished, or cut short between the two
        if not intact:
            print(f"cache: {entry} is not used: it has changed since it was written")
            return None
        return get(key)

    cache.get, cache.put = checked_get, sealed_put
