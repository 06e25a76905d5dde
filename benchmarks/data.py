"""How fast a log becomes sequences: a hundred million rows, and ten million against pandas.

    .venv/bin/python benchmarks/data.py                  everything, about 15 minutes on 2 cores
    .venv/bin/python benchmarks/data.py --rows 10000000  one size, three times

Generates the logs as Parquet (`--folder`, kept for the next time), runs the pipeline's own steps as
processes of their own (snapshot, ingest, validate, build), and the same work written in pandas, and
compares the sequences byte by byte. Run it with nothing else on the machine; quote medians.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGE = 100_000_000
SMALL = 10_000_000
ARRAYS = ("offsets", "items", "timestamps", "train_end", "validation_end")

STEPS = {
    "snapshot_source": "run({source!r}, '', {home!r} + '/registry', '', '{{}}')",
    "ingest_interactions": "run({source!r}, '', {digest!r}, '{{}}', {home!r} + '/log')",
    "validate_data": "run({home!r} + '/log', '', '{{}}', {home!r} + '/verdict')",
    "build_sequences": "run({home!r} + '/log', {home!r} + '/verdict', '{{}}', {home!r} + '/sequences')",
}


def generate(folder: Path, rows: int, order: str) -> Path:
    """Write a log of `rows` interactions, a twentieth as many users, 500,000 items."""
    import polars as pl
    import pyarrow.parquet as pq

    from slmrec.data.sample import parse_sample, sample_interactions

    path = folder / f"{rows}-{order}.parquet"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    sample = parse_sample(f"sample:users={rows // 20},items=500000,interactions={rows}")
    writer = None
    for chunk in sample_interactions(sample):
        table = chunk.to_arrow(compat_level=pl.CompatLevel.oldest())
        writer = writer or pq.ParquetWriter(partial, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    if order == "time":
        by_time = pl.scan_parquet(partial).sort("timestamp", "user_id", "item_id")
        by_time.sink_parquet(path.with_suffix(".sorted"))
        path.with_suffix(".sorted").replace(partial)
    partial.replace(path)
    return path


def measured(code: str) -> tuple[float, float, str]:
    """Run Python code as a process: (seconds, peak resident GB, what it printed last)."""
    started = time.perf_counter()
    program = f"import resource\n{code}\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    *_, said, peak = ["", *done.stdout.strip().splitlines()]
    return seconds, int(peak) / 1024**2, said


def ours(source: Path, home: Path) -> dict[str, tuple[float, float]]:
    """Run the four steps: (seconds, peak GB) of each."""
    shutil.rmtree(home, ignore_errors=True)
    found = {}
    digest = ""
    for name, call in STEPS.items():
        filled = call.format(source=str(source), home=str(home), digest=digest)
        code = f"from components.{name}.step import run\nprint({filled}.get('digest', ''))"
        seconds, peak, said = measured(code)
        digest = said if name == "snapshot_source" else digest
        found[name] = (seconds, peak)
    return found


def pandas_peer(source: Path, home: Path) -> tuple[float, float]:
    """Do the same work in pandas: (seconds, peak GB)."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    code = f"import runpy\nrunpy.run_path({str(PEER)!r})['main']({str(source)!r}, {str(home)!r})"
    seconds, peak, _ = measured(code)
    return seconds, peak


PEER = Path(__file__).with_name("data_in_pandas.py")


def report(rows: int, source: Path, folder: Path, repeats: int) -> float:
    """Print and return the median seconds of a whole run."""
    runs = [ours(source, folder / "ours") for _ in range(repeats)]
    print(f"\n{rows:,} interactions, {source.name}, median of {repeats}")
    for name in STEPS:
        seconds = statistics.median(run[name][0] for run in runs)
        peak = max(run[name][1] for run in runs)
        print(f"  {name:22}{seconds:8.1f} s {peak:6.2f} GB")
    whole = statistics.median(sum(seconds for seconds, _ in run.values()) for run in runs)
    peak = max(peak for run in runs for _, peak in run.values())
    print(f"  {'together':22}{whole:8.1f} s {peak:6.2f} GB   {rows / whole / 1e6:.2f} M rows/s")
    return whole


def identical(folder: Path) -> bool:
    """Whether both sides gave the same arrays and id maps."""
    import numpy as np
    import polars as pl

    one, other = folder / "ours" / "sequences", folder / "pandas"
    arrays = all(
        np.array_equal(np.load(one / f"{name}.npy"), np.load(other / f"{name}.npy"))
        for name in ARRAYS
    )
    tables = all(
        pl.read_parquet(one / f"{name}.parquet", columns=[f"{name[:-1]}_id"]).equals(
            pl.read_parquet(other / f"{name}.parquet").cast(pl.String)
        )
        for name in ("users", "items")
    )
    return arrays and tables


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "benchmark")
    parser.add_argument("--rows", type=int, default=0, help="one size only")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--order", choices=("users", "time"), default="users")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    if options.rows:
        source = generate(folder, options.rows, options.order)
        report(options.rows, source, folder, options.repeats)
        return
    small = generate(folder, SMALL, options.order)
    large = generate(folder, LARGE, options.order)
    seconds = report(SMALL, small, folder, options.repeats)
    peer = [pandas_peer(small, folder / "pandas") for _ in range(options.repeats)]
    theirs = statistics.median(run[0] for run in peer)
    print(f"  {'pandas':22}{theirs:8.1f} s {max(run[1] for run in peer):6.2f} GB")
    print(f"  {theirs / seconds:.1f} times as fast; sequences identical: {identical(folder)}")
    whole = report(LARGE, large, folder, options.repeats)
    ratio = (whole / LARGE) / (seconds / SMALL)
    print(f"  time a row, 100M over 10M: {ratio:.2f}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
