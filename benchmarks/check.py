"""Whether ratios are still what the committed ones are: fails where one has lost more than a fifth.

    .venv/bin/python -m benchmarks.check FOLDER [--committed docs/results/speed]

FOLDER is what `python -m benchmarks.speed --results FOLDER` wrote. Ratios are compared, never seconds:
both sides of one were measured on the same machine in the same turns.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.speed.measured import Measured
from pipeline.paths import ROOT

MOST_LOST = 0.2


def main() -> int:
    """Print every ratio beside the committed one; 1 where one was lost or is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--committed", type=Path, default=ROOT / "docs" / "results" / "speed")
    asked = parser.parse_args()
    paths = sorted(asked.folder.glob("*.json"))
    if not paths:
        parser.error(f"{asked.folder}: no results; run python -m benchmarks.speed --results first")
    lost = 0
    for path in paths:
        before = asked.committed / path.name
        if not before.exists():
            print(f"{path.stem}: not committed yet")
            continue
        lines, missing = compared(Measured.read(before), Measured.read(path))
        print("\n".join(lines))
        lost += missing
    if lost:
        print(
            f"{lost} of the ratios have lost more than {MOST_LOST:.0%}, or nobody measured them: "
            "'make peers' sets up the peers, LARGE=1 takes the large sizes",
            file=sys.stderr,
        )
    return int(lost > 0)


def compared(before: Measured, now: Measured) -> tuple[list[str], int]:
    """A line for each committed ratio, and how many of them are lost or were not measured."""
    found = {one.name: one.value.median for one in now.ratios}
    lines, lost = [], 0
    for one in before.ratios:
        was, value = one.value.median, found.get(one.name)
        gone = value is None or value < (1 - MOST_LOST) * was
        told = "not measured" if value is None else f"{value:.3g}"
        lines.append(f"{now.case}: {one.name}: {was:.3g} → {told}" + (" — lost" if gone else ""))
        lost += gone
    return lines, lost


if __name__ == "__main__":
    sys.exit(main())
