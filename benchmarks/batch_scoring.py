"""A million users over a catalogue of a hundred thousand items: how fast, and in how much memory.

    .venv/bin/python benchmarks/batch_scoring.py [--users N] [--items N] [--weights int8]

Lists of ten items are made for everybody and written to a Parquet file, as a batch job would. The
arithmetic that this takes is compared with what products of the same kind reach on this machine when
they do nothing else: the share of the peak. Run it with nothing else on the machine.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.progress import track

from slmrec.compress.export import export_servable
from slmrec.compress.graph import FLOAT, Graph
from slmrec.compress.matrices import ByteMatrix, FloatMatrix
from slmrec.config import Variant
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.machine import describe, this_machine
from slmrec.models.servable import Servable, open_graph

WIDTH, FEED_FORWARD, LENGTH, MEMORY, LIST = 128, 512, 50, 32, 10
MEAN_LENGTH = 12
CHUNK = 4096
"""Users handed over at once; the servable takes them in turns of its own."""
PEAK_SIZE, PEAK_RUNS = 1024, 30


def main() -> None:
    """Build a student, score everybody, print what it took."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--users", type=int, default=1_000_000)
    arguments.add_argument("--items", type=int, default=100_000)
    arguments.add_argument("--weights", default="int8", choices=["int8", "float32"])
    asked = arguments.parse_args()
    print(describe(this_machine()))
    with tempfile.TemporaryDirectory() as folder:
        servable = build(asked.items, asked.weights, Path(folder))
        offsets, items = histories(asked.users, asked.items)
        before = resident()
        started = time.perf_counter()
        score(servable, offsets, items, Path(folder) / "lists.parquet")
        seconds = time.perf_counter() - started
        peak = peak_products(asked.weights, Path(folder))
    positions = float(np.minimum(np.diff(offsets), LENGTH).mean())
    work = products(asked.items, positions)
    rate = asked.users / seconds
    print(f"{asked.users:,} users, {asked.items:,} items, {asked.weights}: {seconds:,.0f} s")
    print(f"{rate:,.0f} users/s; {work / 1e6:.1f} million products a user")
    print(
        f"{work * rate / 1e9:.0f} of {peak / 1e9:.0f} billion products a second that a matrix product "
        f"alone reaches: {100 * work * rate / peak:.0f} % of the peak"
    )
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"at most {largest:,.0f} MB, {before:,.0f} MB of it before the first user")


def build(items: int, weights: str, folder: Path) -> Servable:
    """A student with random weights and a random memory, exported; quality does not matter here."""
    torch.manual_seed(0)
    shape = DecoderShape(
        items=items,
        width=WIDTH,
        heads=4,
        feed_forward=(FEED_FORWARD,),
        max_length=LENGTH,
        memory=MEMORY,
    )
    model = Decoder(shape).eval()
    assert model.memory is not None
    model.memory.neighbours.copy_(torch.randint(1, items + 1, (items + 1, MEMORY)))
    model.memory.neighbours[0] = 0
    model.memory.weights.copy_(torch.rand(items + 1, MEMORY))
    model.memory.weights[0] = 0
    model.memory.gain.fill_(0.5)
    generator = np.random.default_rng(1)
    sample = [generator.integers(1, items + 1, size=LENGTH).astype(np.int32) for _ in range(64)]
    artifact, _ = export_servable(
        model,
        catalogue(items),
        Variant(name=weights, weights=weights),
        folder / "servable",
        calibration=sample,
        sample=[],
        inputs={},
    )
    return Servable(artifact)


def catalogue(items: int) -> pl.DataFrame:
    """Items by number, each met as often as the others."""
    numbers = pl.DataFrame({"item_index": range(1, items + 1)})
    return numbers.with_columns(item_id=pl.col("item_index").cast(str), count=pl.lit(1))


def histories(users: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Random histories in one array, as sequences artifacts keep them: offsets and items."""
    generator = np.random.default_rng(2)
    lengths = 1 + generator.geometric(1 / (MEAN_LENGTH - 1), size=users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return offsets, generator.integers(1, items + 1, size=offsets[-1], dtype=np.int32)


def score(servable: Servable, offsets: np.ndarray, items: np.ndarray, path: Path) -> None:
    """Lists for everybody, written chunk by chunk."""
    users = len(offsets) - 1
    schema = pa.schema([("user", pa.int64()), ("items", pa.list_(pa.int64(), LIST))])
    with pq.ParquetWriter(path, schema) as writer:
        for start in track(range(0, users, CHUNK), description="scoring"):
            end = min(start + CHUNK, users)
            part = [items[offsets[user] : offsets[user + 1]] for user in range(start, end)]
            best, _ = servable.best(part, LIST, exclude_seen=True)
            columns = [
                pa.array(np.arange(start, end)),
                pa.FixedSizeListArray.from_arrays(pa.array(best.ravel()), LIST),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def products(items: int, positions: float) -> float:
    """Multiplications of weights that one user takes."""
    keys_and_values = positions * 2 * WIDTH * WIDTH
    newest = 2 * WIDTH * WIDTH + 3 * WIDTH * FEED_FORWARD
    return keys_and_values + newest + WIDTH * (items + 1)


def peak_products(weights: str, folder: Path) -> float:
    """Products a second of a large square matrix product with all threads."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=(PEAK_SIZE, PEAK_SIZE)).astype(np.float32)
    matrix = ByteMatrix(values, reach=4.0) if weights == "int8" else FloatMatrix(values)
    graph = Graph()
    graph.call("Identity", matrix.times(graph, "x"), output="y")
    dimensions = [PEAK_SIZE, PEAK_SIZE]
    graph.inputs, graph.outputs = {"x": (FLOAT, dimensions)}, {"y": (FLOAT, dimensions)}
    path = folder / "peak.onnx"
    path.write_bytes(graph.model().SerializeToString())
    session = open_graph(path, threads=0)
    times = []
    for _ in range(PEAK_RUNS):
        started = time.perf_counter()
        session.run(["y"], {"x": values})
        times.append(time.perf_counter() - started)
    return float(PEAK_SIZE**3 / statistics.median(times))


def resident() -> float:
    """Megabytes of memory that the process has taken so far, at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
