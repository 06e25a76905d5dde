"""What the teacher knows about every training position, kept so that it never has to run again.

A shard is an artifact that holds the users whose index is `shard` modulo `shards`. Rows are training
positions in ascending order:

- `positions.npy` int64 [rows]: position of the read item in the sequences
- `states.npy` uint16 [rows, blocks, width]: hidden states at block ends, the bits of bfloat16; the
  last block's state is the normed one that items are scored with
- `top_items.npy` int32 and `top_scores.npy` float16 [rows, K]: the K best catalogue scores
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.config import CacheTeacher
from slmrec.data.sequences import Int64, Sequences
from slmrec.errors import ArtifactError, ConfigError, SlmrecError
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import packed_mask
from slmrec.progress import Progress
from slmrec.training.batches import Windows, pack, packed_batches, training_windows

KIND = "teacher_cache"


def parse_shard(text: str) -> tuple[int, int]:
    """`"1/4"` → (1, 4). Raises `ConfigError`."""
    try:
        number, count = (int(part) for part in text.split("/"))
    except ValueError:
        number, count = -1, 0
    if not 0 <= number < count:
        raise ConfigError(f"shard '{text}': expected NUMBER/COUNT with 0 <= NUMBER < COUNT")
    return number, count


def cache_bytes(positions: int, blocks: int, width: int, top_k: int) -> int:
    """Size of a cache of so many positions."""
    return positions * (8 + 2 * blocks * width + (4 + 2) * top_k)


def require_space(
    sequences: Sequences, teacher: Decoder, shard: str, config: CacheTeacher, free_bytes: int
) -> None:
    """Refuse, with the numbers, when a shard will not fit on the disk. Raises `SlmrecError`."""
    windows = _shard_windows(sequences, teacher.max_length, *parse_shard(shard))
    needed = cache_bytes(windows.targets, config.blocks, teacher.shape.width, config.top_k)
    if needed > free_bytes:
        raise SlmrecError(
            f"teacher cache: shard {shard} needs {needed / 2**20:,.0f} MiB for {windows.targets:,} "
            f"positions and the disk has {free_bytes / 2**20:,.0f} MiB left; free some, or lower "
            "cache_teacher.blocks or top_k"
        )


@torch.inference_mode()
def write_shard(
    directory: Path | str,
    teacher: Decoder,
    sequences: Sequences,
    shard: str,
    config: CacheTeacher,
    inputs: dict[str, Artifact],
    progress: Progress,
) -> Artifact:
    """Run the teacher once over a shard's training windows and publish what it says.

    Raises `ConfigError` when the blocks do not divide the teacher's layers.
    """
    number, count = parse_shard(shard)
    if len(teacher.layers) % config.blocks:
        raise ConfigError(
            f"cache_teacher.blocks is {config.blocks} and does not divide the teacher's "
            f"{len(teacher.layers)} layers"
        )
    windows = _shard_windows(sequences, teacher.max_length, number, count)
    rows, width = windows.targets, teacher.shape.width
    top_k = min(config.top_k, sequences.item_count)
    properties = {
        "shard": number,
        "shards": count,
        "blocks": config.blocks,
        "width": width,
        "top_k": top_k,
        "positions": rows,
        "max_length": teacher.max_length,
        "teacher_layers": len(teacher.layers),
    }
    teacher.eval()
    with publish(
        Path(directory), KIND, config=config.to_json(), inputs=inputs, properties=properties
    ) as staging:
        positions = np.sort(_positions(windows))
        np.save(staging / "positions.npy", positions)
        states = _memory_map(staging / "states.npy", np.uint16, (rows, config.blocks, width))
        top_items = _memory_map(staging / "top_items.npy", np.int32, (rows, top_k))
        top_scores = _memory_map(staging / "top_scores.npy", np.float16, (rows, top_k))
        done = 0
        packing = pack(windows.length, teacher.max_length, np.random.default_rng(0))
        for batch in packed_batches(sequences, windows, packing, config.batch_tokens):
            outputs = teacher(
                batch.items, batch.positions, packed_mask(batch.segments), config.blocks
            )
            real = batch.targets > 0
            row = np.searchsorted(positions, batch.source[real].numpy())
            kept = torch.stack([output[real] for output in outputs], dim=1)
            states[row] = kept.bfloat16().view(torch.int16).numpy().view(np.uint16)
            scores = kept[:, -1] @ teacher.items.weight.T
            scores[:, 0] = -torch.inf
            best = scores.topk(top_k, dim=1)
            top_items[row] = best.indices.int().numpy()
            top_scores[row] = best.values.half().numpy()
            done += len(row)
            progress.update(done, rows, f"{done:,} of {rows:,} positions")
        for array in (states, top_items, top_scores):
            array.flush()
    return open_artifact(directory, KIND)


def _shard_windows(sequences: Sequences, max_length: int, number: int, count: int) -> Windows:
    windows = training_windows(sequences, max_length)
    return windows.select(windows.user % count == number)


def _positions(windows: Windows) -> Int64:
    length = windows.length
    inside = np.arange(windows.targets) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(windows.start, length) + inside


def _memory_map(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:  # type: ignore[type-arg]
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    # A full disk must be an error now, not a dead process when a page of a sparse file is written.
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return array


@dataclass(frozen=True)
class CachedTeacher:
    """What the teacher says about the positions of a batch."""

    states: Tensor
    """float32 [positions, blocks, width]"""
    top_items: Tensor
    """int64 [positions, K]"""
    top_scores: Tensor
    """float32 [positions, K]"""


class TeacherCache:
    """All shards of a cache, memory-mapped, read by position."""

    def __init__(
        self,
        directories: Sequence[Path | str],
        sequences: Sequences,
        teacher: Artifact | None = None,
    ) -> None:
        """Open every shard.

        Raises `ArtifactError` when they do not make one whole cache of these sequences and, where
        it is given, of this teacher.
        """
        opened = [open_artifact(directory, KIND) for directory in directories]
        self.artifacts = sorted(opened, key=lambda artifact: artifact.properties["shard"])
        self._check_shards()
        self._check_source("sequences", sequences.artifact)
        self._check_source("teacher", teacher)
        first = self.artifacts[0].properties
        self.blocks: int = first["blocks"]
        self.width: int = first["width"]
        self.max_length: int = first["max_length"]
        self.teacher_layers: int = first["teacher_layers"]
        self._states = [self._array(artifact, "states") for artifact in self.artifacts]
        self._top_items = [self._array(artifact, "top_items") for artifact in self.artifacts]
        self._top_scores = [self._array(artifact, "top_scores") for artifact in self.artifacts]
        # position → shard and row in it; -1 where the teacher was not asked
        self._shard = np.full(sequences.interactions, -1, dtype=np.int16)
        self._row = np.full(sequences.interactions, -1, dtype=np.int64)
        for number, artifact in enumerate(self.artifacts):
            positions = self._array(artifact, "positions")
            self._shard[positions] = number
            self._row[positions] = np.arange(len(positions))

    @staticmethod
    def _array(artifact: Artifact, name: str) -> NDArray[np.generic]:
        array: NDArray[np.generic] = np.load(
            artifact.file(f"{name}.npy"), mmap_mode="r", allow_pickle=False
        )
        return array

    def _check_shards(self) -> None:
        found = [(a.properties["shard"], a.properties["shards"]) for a in self.artifacts]
        expected = [(number, len(found)) for number in range(len(found))]
        if not found or found != expected:
            raise ArtifactError(
                f"teacher cache: found the shards {found}, expected one each of "
                f"{expected or 'at least one'}; run cache_teacher again"
            )
        for name in ("teacher", "sequences"):
            if len({artifact.inputs.get(name) for artifact in self.artifacts}) > 1:
                raise ArtifactError(
                    f"teacher cache: the shards come from different {name}; run cache_teacher again"
                )

    def _check_source(self, name: str, expected: Artifact | None) -> None:
        found = self.artifacts[0].inputs.get(name)
        if expected is not None and found != expected.digest:
            raise ArtifactError(
                f"teacher cache: made from other {name} than the one given; run cache_teacher again"
            )

    def read(self, positions: Int64) -> CachedTeacher:
        """What the teacher says about these positions. Raises `ArtifactError` if one is missing."""
        shard, row = self._shard[positions], self._row[positions]
        if (shard < 0).any():
            raise ArtifactError(
                f"teacher cache: no entry for position {positions[shard < 0][0]}; "
                "run cache_teacher again"
            )

        def gather(arrays: list[NDArray[np.generic]]) -> NDArray[np.generic]:
            out = np.empty((len(positions), *arrays[0].shape[1:]), dtype=arrays[0].dtype)
            for number, array in enumerate(arrays):
                mine = shard == number
                out[mine] = array[row[mine]]
            return out

        states = torch.from_numpy(gather(self._states).view(np.int16)).view(torch.bfloat16)
        return CachedTeacher(
            states.float(),
            torch.from_numpy(gather(self._top_items).astype(np.int64)),
            torch.from_numpy(gather(self._top_scores).astype(np.float32)),
        )
