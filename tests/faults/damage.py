"""Ways in which what the task cache reaches can be damaged, each undone after a look-up."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

FLIP, CUT, LONGER, GONE, SWAPPED = "a bit flipped", "cut short", "bytes added", "gone", "swapped"
WAYS = (FLIP,) * 6 + (CUT, LONGER, GONE, SWAPPED)
"""Six in ten flip a bit."""


def harm(path: Path, others: list[Path], rng: random.Random) -> tuple[str, Callable[[], None]]:
    """Damage a file; how, and what undoes it. Files may have several names, so none is written in
    place: what is damaged is a copy."""
    way = rng.choice(WAYS)
    kept = path.with_name(f"{path.name}.kept")
    content = path.read_bytes()
    other = rng.choice(others).read_bytes() if others else b""
    if way == SWAPPED and other == content:
        way = FLIP
    if way in (FLIP, CUT) and not content:
        way = LONGER
    path.rename(kept)
    if way == FLIP:
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        flipped = content[place] ^ (1 << bit)
        path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
    elif way == CUT:
        path.write_bytes(content[: rng.randrange(len(content))])
    elif way == LONGER:
        path.write_bytes(content + rng.randbytes(rng.randint(1, 9)))
    elif way == SWAPPED:
        path.write_bytes(other)

    def undo() -> None:
        path.unlink(missing_ok=True)
        kept.rename(path)

    return way, undo


def flip_for_good(path: Path) -> None:
    """Flip a bit in the middle of a file, in a copy that takes its place."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    aside = path.with_name(f"{path.name}.flipped")
    shutil.copyfile(path, aside)
    aside.write_bytes(content)
    aside.replace(path)
