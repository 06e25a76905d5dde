"""What the teacher knows about every training position, kept so that it never has to run again."""

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slmrec.artifacts import Artifact, open_artifact, publish, staging_disk
from slmrec.config import CacheTeacher
from slmrec.data.ordering import chunks_of_groups
from slmrec.data.sequences import Int64, Sequences
from slmrec.distillation.cache_format import KIND, encode
from slmrec.distillation.shard_plan import ShardPlan, plan_shard, require_space, shard_key
from slmrec.distillation.shard_store import ShardStore, link_or_copy
from slmrec.distillation.teachers import Teacher
from slmrec.progress import Progress
from slmrec.training.batches import Batch, Windows, pack, packed_batches, scored_together

PACKED_TOGETHER = 1_000_000
"""Positions; rows that are written one after another then lie close together in the file."""
TIMED_BATCHES = 3
"""The first one warms up, the others say how long the rest will take."""
KEPT_RUNS = 2
"""Runs' worth of shards that a store holds."""

Rows = tuple[Int64, Mapping[str, NDArray[Any]]]
"""Row numbers in a shard, and what to write there into each array."""


@dataclass(frozen=True)
class WrittenShard:
    """A finished shard."""

    artifact: Artifact
    reused: bool
    """Whether it came from the store, without a word of the teacher."""


def write_shard(
    directory: Path | str,
    teacher: Teacher,
    sequences: Sequences,
    shard: str,
    config: CacheTeacher,
    inputs: Mapping[str, Artifact],
    progress: Progress,
    store: ShardStore | None = None,
) -> WrittenShard:
    """Publish what a teacher says about a shard's training windows.

    `shard` is `NUMBER/COUNT`. `inputs` are the sequences, under that name, and everything that the
    teacher was made from. A shard that `store` holds already is taken from there; else the teacher
    runs once over the windows, and the store keeps what it said. Either way the artifact is the same.

    Raises `ConfigError` when the blocks do not divide the teacher's layers, and `SlmrecError`, with
    the numbers and before anything is computed, when the disk cannot hold the shard.
    """
    directory = Path(directory)
    plan = plan_shard(sequences, teacher, shard, config)
    key = ""
    if store is not None:
        key = shard_key(plan, sequences, config, inputs, teacher.device.type)
        kept = store.find(key, progress)
        if kept is not None:
            progress.say(
                f"teacher and windows are known: {plan.rows:,} positions are taken from the store"
            )
            with _published(directory, plan, teacher, config, inputs) as staging:
                for name in kept.files:
                    link_or_copy(kept.file(name), staging / name)
            return WrittenShard(open_artifact(directory, KIND), reused=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    require_space(plan, shutil.disk_usage(staging_disk(directory)).free)
    readings = _readings(teacher, sequences, plan, config)
    first, seconds = _timed_start(readings, plan.rows)
    progress.say(
        f"{plan.rows:,} positions · {plan.bytes / 2**20:,.1f} MiB · about {seconds:,.0f} s"
    )
    with _published(directory, plan, teacher, config, inputs) as staging:
        _write_rows(staging, plan, itertools.chain(first, readings), progress)
    artifact = open_artifact(directory, KIND)
    if store is not None:
        names = [f"{name}.npy" for name in plan.layout.arrays(0)]
        store.keep(key, artifact, names, progress)
        store.prune(KEPT_RUNS * plan.count)
    return WrittenShard(artifact, reused=False)


@contextmanager
def _published(
    directory: Path,
    plan: ShardPlan,
    teacher: Teacher,
    config: CacheTeacher,
    inputs: Mapping[str, Artifact],
) -> Iterator[Path]:
    properties = {
        "shard": plan.number,
        "shards": plan.count,
        "positions": plan.rows,
        "teacher_layers": teacher.layers,
        **plan.layout.properties(),
    }
    with publish(
        directory, KIND, config=config.to_json(), inputs=inputs, properties=properties
    ) as staging:
        np.save(staging / "positions.npy", plan.positions, allow_pickle=False)
        yield staging


def _readings(
    teacher: Teacher, sequences: Sequences, plan: ShardPlan, config: CacheTeacher
) -> Iterator[Rows]:
    tokens = scored_together(sequences.item_count, config.batch_tokens)
    for batch in _batches(sequences, plan, tokens):
        with torch.inference_mode():
            reading = teacher.read(batch, plan.layout.blocks, attention=plan.layout.attention)
            arrays = encode(reading, plan.layout)
        source = batch.source[batch.targets > 0].numpy()
        yield np.searchsorted(plan.positions, source), arrays


def _batches(sequences: Sequences, plan: ShardPlan, batch_tokens: int) -> Iterator[Batch]:
    windows, capacity = plan.windows, plan.layout.max_length
    offsets = np.concatenate(([0], np.cumsum(windows.length)))
    for first, after in chunks_of_groups(offsets, PACKED_TOGETHER):
        part = Windows(
            windows.start[first:after], windows.length[first:after], windows.user[first:after]
        )
        packing = pack(part.length, capacity, np.random.default_rng(0))
        yield from packed_batches(sequences, part, packing, batch_tokens)


def _timed_start(readings: Iterator[Rows], rows: int) -> tuple[list[Rows], float]:
    """The first batches' readings, and the seconds that all `rows` will take at their speed."""
    first: list[Rows] = []
    speeds: list[float] = []  # seconds a position
    while len(first) < TIMED_BATCHES:
        started = time.monotonic()
        reading = next(readings, None)
        if reading is None:
            break
        first.append(reading)
        speeds.append((time.monotonic() - started) / len(reading[0]))
    measured = speeds[1:] or speeds
    return first, rows * sum(measured) / max(len(measured), 1)


def _write_rows(
    staging: Path, plan: ShardPlan, readings: Iterator[Rows], progress: Progress
) -> None:
    files = {
        name: _memory_map(staging / f"{name}.npy", kind, shape)
        for name, (kind, shape) in plan.layout.arrays(plan.rows).items()
    }
    done = 0
    for row, arrays in readings:
        for name, file in files.items():
            file[row] = arrays[name]
        done += len(row)
        progress.update(done, plan.rows, f"{done:,} of {plan.rows:,} positions")
    for file in files.values():
        file.flush()


def _memory_map(
    path: Path, kind: type[np.generic], shape: tuple[int, ...]
) -> np.memmap[Any, np.dtype[Any]]:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
    # A full disk must be an error now, not a dead process when a page of a sparse file is written.
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return array
