"""Measure cases and write them down: what `make bench` runs."""

import argparse
import os
import sys
from pathlib import Path

from benchmarks.speed import data, evaluation, inference, page, pipeline, quality, scaling, training
from benchmarks.speed.measured import Measured
from benchmarks.speed.options import Options
from benchmarks.speed.peers import PEERS, installed
from pipeline.paths import ROOT
from slmrec.artifacts import canonical_json, digest_file, digest_text

CASES = {
    case.NAME: case.measure
    for case in (training, quality, inference, data, evaluation, pipeline, scaling)
}
RESULTS = ROOT / "docs" / "results" / "speed"


def main() -> None:
    """Measure what was asked for; the page is of all cases whose figures are there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description="Measure speed beside peers and beside what the machine can do.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", help=f"{', '.join(CASES)}; none: all")
    parser.add_argument(
        "--log",
        default=os.environ.get("SLMREC_BENCHMARK_LOG", "sample:users=20000,items=12000"),
        help="interactions for training and lists, as `python -m pipeline run` takes them",
    )
    parser.add_argument(
        "--folder", type=Path, help="what is made of the log; by default one for log and settings"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peers", default="installed", help="names with commas, 'installed', 'none'"
    )
    parser.add_argument("--large", action="store_true", help="also sizes that take an hour")
    asked = parser.parse_args()
    unknown = [name for name in asked.cases if name not in CASES]
    if unknown:
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(CASES)}")
    options = Options(
        asked.log,
        asked.folder or folder_for(asked.log),
        asked.turns,
        asked.threads,
        chosen(parser, asked.peers),
        asked.large,
    )
    asked.results.mkdir(parents=True, exist_ok=True)
    for name in asked.cases or CASES:
        found = CASES[name](options)
        (asked.results / f"{name}.json").write_text(found.to_json(), encoding="utf-8")
        for one in found.ratios:
            words = "" if one.asked is None else f", asked {one.asked:g}"
            print(f"{name}: {one.name}: {one.value.shown()}{words}")
    paths = [asked.results / f"{name}.json" for name in CASES]
    page.write(asked.results, [Measured.read(path) for path in paths if path.exists()])
    print(f"wrote {asked.results / 'README.md'}")


def folder_for(log: str) -> Path:
    """Of a log and the settings that models have, so that neither is measured under another's name."""
    made_of = canonical_json([log, digest_file(ROOT / "pipeline" / "configs" / "default.yaml")])
    return ROOT / "var" / "benchmark" / "speed" / digest_text(made_of)[:12]


def chosen(parser: argparse.ArgumentParser, words: str) -> list[str]:
    """The peers that take part; those that are named have to be installed."""
    there = installed()
    if words == "installed":
        absent = [name for name in PEERS if name not in there]
        if absent:
            print(f"not installed: {', '.join(absent)}; make peers", file=sys.stderr)
        return there
    names = [] if words == "none" else words.split(",")
    for name in names:
        if name not in PEERS:
            parser.error(f"no peer {name!r}; there are {', '.join(PEERS)}")
        if name not in there:
            parser.error(f"{name} is not installed; make peers")
    return names


if __name__ == "__main__":
    main()
