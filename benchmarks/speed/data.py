"""Case 3: from a log to sequences at one, ten and a hundred million interactions, beside others."""

import statistics
import sys
from pathlib import Path

from benchmarks import data as steps_of_data
from benchmarks.speed import machine
from benchmarks.speed.measured import Figure, Measured, Ratio, Spread
from benchmarks.speed.options import Options
from benchmarks.speed.peers import PEERS, python
from benchmarks.speed.turns import Found, Side, run
from pipeline.paths import ROOT

NAME = "data"
TITLE = "From a log to sequences"
SIZES = (1_000_000, 10_000_000)
LARGE = 100_000_000
MADE_UP = "made up, 500,000 items, in Parquet"
"""What a page calls the log."""


def measure(options: Options) -> Measured:
    """Run the four steps of data and the same work in pandas in turns."""
    folder = options.folder / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    ratios: list[Ratio] = []
    seconds: dict[int, list[float]] = {}
    versions: dict[str, str] = {}
    for rows in (*SIZES, *((LARGE,) if options.large else ())):
        source = steps_of_data.generate(folder, rows, "users")
        loaders = [loader(name, source) for name in options.peers] if rows <= SIZES[0] else []
        runs, theirs = [], []
        loaded: list[dict[str, Found]] = []
        for _ in range(options.turns if rows < LARGE else 1):
            runs.append(steps_of_data.ours(source, folder / "ours"))
            if rows < LARGE:
                theirs.append(steps_of_data.pandas_peer(source, folder / "pandas"))
            loaded.append({side.name: run(side) for side in loaders})
        called = f"{rows:,} interactions"
        figures += [
            Figure(f"slmrec, {called}", step, "s", Spread.of(run[step][0] for run in runs))
            for step in steps_of_data.STEPS
        ]
        seconds[rows] = [sum(taken for taken, _ in run.values()) for run in runs]
        peak = max(gigabytes for run in runs for _, gigabytes in run.values())
        figures.append(Figure(f"slmrec, {called}", "together", "s", Spread.of(seconds[rows])))
        figures.append(Figure(f"slmrec, {called}", "memory at most", "GB", Spread.of([peak])))
        if theirs:
            its = [taken for taken, _ in theirs]
            beside = f"pandas, {called}"
            figures.append(Figure(beside, "together", "s", Spread.of(its)))
            figures.append(
                Figure(beside, "memory at most", "GB", Spread.of([max(gb for _, gb in theirs)]))
            )
            times = Spread.of(t / o for t, o in zip(its, seconds[rows], strict=True))
            ratios.append(Ratio(f"pandas over slmrec, {called}", times))
            if not steps_of_data.identical(folder):
                sys.exit(f"{folder}: pandas and the steps made different sequences of {called}")
        alone = [taken["ingest_interactions"][0] + taken["build_sequences"][0] for taken in runs]
        for side in loaders:
            its = [turn[side.name]["seconds"] for turn in loaded]
            peer = side.name.split("'")[0]
            told = loaded[0][side.name]["versions"]
            versions |= {f"{peer}: {package}": text for package, text in told.items()}
            figures += [
                Figure(f"{side.name}, {called}", "together", "s", Spread.of(its)),
                Figure(
                    f"{side.name}, {called}",
                    "memory at most",
                    "GB",
                    Spread.of(turn[side.name]["peak_rss_mb"] / 1024 for turn in loaded),
                ),
            ]
            times = Spread.of(t / o for t, o in zip(its, alone, strict=True))
            ratios.append(Ratio(f"{side.name} over slmrec's ingest and sequences, {called}", times))
    large, small = max(seconds), min(seconds)
    per_row = {rows: statistics.median(taken) / rows for rows, taken in seconds.items()}
    ratios.append(
        Ratio(
            f"time a row, {small:,} over {large:,} interactions",
            Spread.of([per_row[small] / per_row[large]]),
        )
    )
    return Measured(
        NAME,
        TITLE,
        {"turns": options.turns, "large": options.large, "log": MADE_UP},
        machine.describe(),
        machine.versions("polars", "pyarrow", "duckdb", "pandas") | versions,
        figures,
        ratios,
        notes=(
            "Snapshot, ingest, validation of every row, sequences: each step a process of its own, its "
            "start included. pandas does the same work but the validation in one process.",
            "Sequences of both sides are the same, byte by byte.",
            "A peer's loader makes of the log what its SASRec trains on, in a process that has started "
            "and whose imports are done; ours has two processes that start, a quarantine of bad rows "
            "and an iterated k-core beside that, but no validation.",
        ),
    )


def loader(name: str, source: Path) -> Side:
    """A peer's own way from a log to what it trains on."""
    script = ROOT / "benchmarks" / "peers" / "loading.py"
    command = (str(python(name)), str(script), PEERS[name], str(source))
    return Side(f"{name}'s loader", command)
