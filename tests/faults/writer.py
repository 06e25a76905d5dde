"""Writes artifacts of every format until it is killed; a process of `test_publishing.py`."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import polars as pl
from safetensors.numpy import save_file

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.distillation.shard_store import ShardStore
from slmrec.progress import Silent
from slmrec.registry.store import Registry
from slmrec.registry.versions import DataFacts

VALUES = 250_000
FACTS = DataFacts("sequences", 1, 1)


def write(directory: Path, kind: str, seed: int) -> Artifact:
    """One artifact with a file of every format, about 5 MB."""
    numbers = np.random.default_rng(seed).standard_normal(VALUES, dtype=np.float32)
    table = pl.DataFrame({"number": numbers})
    with publish(directory, kind, properties={"name": "int8", "seed": seed}) as staging:
        table.write_parquet(staging / "table.parquet")
        table.write_ipc(staging / "table.arrow")
        np.save(staging / "numbers.npy", numbers)
        save_file({"numbers": numbers}, staging / "numbers.safetensors")
        tensor = onnx.numpy_helper.from_array(numbers, "numbers")
        graph = onnx.helper.make_graph([], "graph", [], [], [tensor])
        onnx.save(onnx.helper.make_model(graph), staging / "model.onnx")
        (staging / "part").mkdir()
        write_json(staging / "part" / "numbers.json", numbers[:2_000].tolist())
        (staging / "page.html").write_text("<p>" + "x" * 100_000, encoding="utf-8")
    return open_artifact(directory)


def write_for_ever(folder: Path, seed: int) -> None:
    """New places and places that hold an older artifact, kept shards, and a registry."""
    registry = Registry(folder / "registry")
    store = ShardStore(folder / "kept")
    step = 0
    while True:
        step += 1
        place = folder / "outputs" / f"{step % 3}"
        written = write(place, "servable", 1000 * seed + step)
        store.keep(f"{step % 2}", written, sorted(written.files), Silent())
        registry.add(
            written,
            written,
            written,
            FACTS,
            code_digest=f"{seed}",
            settings_digest=f"{step}",
            time="2026-01-02T03:04:05+00:00",
        )


def main() -> None:
    """Fork a writer for each line of standard input, and print its id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            write_for_ever(folder, int(line))
        print(child, flush=True)


if __name__ == "__main__":
    main()
