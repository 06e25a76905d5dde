"""The peers' SASRec as sides of a comparison, each in its own environment."""

from pathlib import Path

from benchmarks.speed.options import Options
from benchmarks.speed.turns import Side
from pipeline.paths import ROOT

PEERS = {"RecTools": "rectools", "RecBole": "recbole", "RePlay": "replay"}
"""How each is called, and its script and environment."""
TUNED = "tuned"
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
"""Of glibc: large temporary tensors are kept instead of being mapped anew each time."""


BEST = {
    "RecTools": "--loss sampled_softmax --negatives 256",
    "RecBole": "--loss softmax --feed-forward 256",
    "RePlay": "--loss LogInCE --bucket-size 16",
}
"""What each recommends, or the fastest way to its default."""
FASTEST = {"RePlay": BEST["RePlay"]}
"""What a peer also offers for the same loss and shape, in less time: scores at real targets only, and
histories of like length together."""


def python(name: str) -> Path:
    """Of a peer's environment."""
    return ROOT / f".venv-{PEERS[name]}" / "bin" / "python"


def installed() -> list[str]:
    """Peers whose environment is there."""
    return [name for name in PEERS if python(name).exists()]


def peer(
    name: str,
    options: Options,
    *,
    epochs: int,
    part: float = 1.0,
    tuned: bool = False,
    more: str = "",
    called: str = "",
) -> Side:
    """A peer that learns for some epochs, or parts of them, and makes lists for everybody.

    `more` are words for its driver.
    """
    script = ROOT / "benchmarks" / "peers" / f"{PEERS[name]}_sasrec.py"
    called = called or name
    command = (
        str(python(name)),
        str(script),
        str(options.folder / "training.parquet"),
        "--lists",
        str(options.folder / f"lists-{PEERS[name]}.parquet"),
        "--epochs",
        str(epochs),
        "--part",
        str(part),
        "--threads",
        str(options.threads),
        *more.split(),
    )
    return Side(f"{called} {TUNED}" if tuned else called, command, ALLOCATOR if tuned else {})
