"""Try every promise about crashes and attacks, and write what was counted to docs/reliability.md.

    .venv/bin/python benchmarks/reliability.py [--counts DIR] [--keep] [--page FILE] [-- PYTEST OPTIONS]

Runs all of `tests/faults`, which takes hours on two cores, with the counts of each row kept in a new
folder; with `--counts` the page is made of the counts of an earlier run and nothing is tried. Ends with
pytest's exit code. A row whose test failed, or was not run, has no count and says so; with `--keep` it
stays as the page has it, which is for trying a few rows again on the same machine.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COUNTS_VARIABLE = "SLMREC_RELIABILITY"
COMMAND = "make test-faults"
COLUMNS = ("#", "promise", "asked", "measured", "seconds")
NOT_MEASURED = "not measured"
PROMISES = {
    1: (
        "SIGKILL at any moment of any step; the rerun's artifacts are byte-identical to an undisturbed "
        "run's",
        "200 seeded kills over all steps, 0 differences",
    ),
    2: ("a reader sees a whole artifact or none", "100 kills in mid-write, 0 without their bytes"),
    3: ("an unchanged run executes nothing", "under 15 s, none but the uncached three"),
    4: ("a flipped bit is noticed and the step executed again", "1,000 of 1,000 noticed"),
    5: ("the cache key covers code, config, inputs, image, lock", "changed: miss; touched: hit"),
    6: ("two runs at once on one home publish one result", "50 races"),
    7: ("storage faults: errors, lost answers, damaged and short downloads", "as it says there"),
    8: ("a hung step ends with its children by 10 s after its deadline", "every step"),
    9: ("a full or closed disk leaves the last good model serving", "20 points"),
    10: ("promotion is compare-and-swap", "50 races, one winner each"),
    11: ("no gate can be passed by failing to run", "each gate's input removed: refused"),
    12: ("no pickle is ever loaded", "static check, planted files refused"),
    13: ("names and URIs stay inside their root", "every name refused or inside"),
    14: ("hostile ids and titles are inert", "every page, report and log"),
    15: ("bombs are refused from their headers or bounded", "under 5 s and 1 GB"),
    16: ("hostile YAML is refused", "under 1 s"),
    17: ("secrets never reach logs, artifacts, pages or summaries", "0 hits"),
    18: ("a signed model whose one byte changed does not load", "0 of 200 load"),
    19: ("the dashboard survives malformed requests and lets nobody in", "0 errors, 0 writes"),
    20: ("memory stays within the declared limit of each step", "10 million interactions"),
}
"""Rows that the page always has; what a test says of its own row comes first."""


def main() -> int:
    """Try, or read what was tried, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--counts", type=Path, help="of an earlier run; nothing is tried")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reliability.md")
    parser.add_argument("--keep", action="store_true", help="rows of the page without a new count")
    parser.add_argument("options", nargs="*", help="for pytest, after --")
    chosen = parser.parse_args()
    code, counts = 0, chosen.counts
    if counts is None:
        counts = Path(os.environ.get(COUNTS_VARIABLE) or tempfile.mkdtemp(prefix="reliability-"))
        code = try_all(counts, chosen.options)
    kept = rows_of(chosen.page.read_text(encoding="utf-8")) if chosen.keep else {}
    chosen.page.write_text(page(kept | read(counts)), encoding="utf-8")
    print(f"wrote {chosen.page} from the counts in {counts}")
    return code


def try_all(counts: Path, options: list[str]) -> int:
    """Run the quick tests and the whole ones; gives pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-m", "not docker", "tests/faults", *options]
    environment = {COUNTS_VARIABLE: str(counts), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment).returncode


def read(counts: Path) -> dict[int | str, dict[str, Any]]:
    """The counts by row; rows that are not numbered have a word."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in counts.glob("*.json")]
    return {one["row"]: one for one in found}


def rows_of(text: str) -> dict[int | str, dict[str, Any]]:
    """The rows of a page that was written before, those that say nothing left out."""
    found: dict[int | str, dict[str, Any]] = {}
    for line in text.splitlines():
        cells = [cell.replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != len(COLUMNS) or cells[0].strip() in ("#", "---"):
            continue
        row, promise, asked, measured, seconds = (cell.strip() for cell in cells)
        if measured != NOT_MEASURED:
            found[int(row) if row.isdecimal() else row] = {
                "row": row,
                "promise": promise,
                "asked": asked,
                "measured": measured,
                "seconds": float(seconds.replace(",", "")) if seconds else None,
            }
    return found


def page(found: dict[int | str, dict[str, Any]]) -> str:
    """The table as Markdown."""
    lines = [
        "# Reliability",
        "",
        "What this pipeline promises when it is killed, raced, starved or attacked, and what was "
        f"counted when each promise was tried. `{COMMAND}` tries them all and writes this page; "
        "`make test` tries a few of each.",
        "",
        f"Counted on: {machine()}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for row in sorted({*PROMISES, *found}, key=lambda row: (isinstance(row, str), row)):
        one = found.get(row)
        if one is None:
            promise, asked = PROMISES[int(row)]
            one = {"promise": promise, "asked": asked, "measured": NOT_MEASURED, "seconds": None}
        seconds = "" if one["seconds"] is None else f"{one['seconds']:,.0f}"
        cells = (str(row), one["promise"], one["asked"], one["measured"], seconds)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, *NOTES.splitlines(), ""])


NOTES = """
What the table does not say:

- Bytes are compared on one machine with one thread: another processor or number of threads adds in
  another order. Load times, latencies and the pages that print them are left out, and a promotion's
  record.
- After `kill -9` of the run alone, its present step goes on to its end. It does no harm: the next
  run and it write whole artifacts to places of their own, and share only what either may lose.
- Two runs at once name one version when they choose the same candidate. Where two variants are
  about as fast, the clock decides, and they may choose different ones: then the one that promotes
  second is refused and says so.
- What is lost when a machine loses power is what its disk had not written: the registry asks the
  disk before it moves on, caches and artifacts do not, and are found damaged and made again.
- A pointer has moved before the step that moved it has written its own record. Where the disk ends
  just there, the step fails, the new version serves, and the next run says that it is production
  already.
- The readers were fuzzed for more than an hour in total. What that found is a test of its own now: two
  kinds of Parquet footers (one leads out of the file, one names columns in bytes that are no text) and
  half a surrogate pair in an item's JSON ended ingest with a traceback.
- A group of users who are new to the log can be left out of an evaluation without a gate seeing it,
  since nothing else says how many they are; every other group is missed.
"""


def machine() -> str:
    """Processor, cores, memory and Python."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
