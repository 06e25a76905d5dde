"""Which positions a shard of the teacher cache holds, how large it becomes, and what decides it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from slmrec.artifacts import Artifact, canonical_json, digest_files, digest_text
from slmrec.config import CacheTeacher
from slmrec.data.ordering import chunks
from slmrec.data.sequences import Int64, Sequences
from slmrec.distillation.cache_format import Layout
from slmrec.distillation.teachers import Teacher
from slmrec.errors import ConfigError, SlmrecError
from slmrec.training.batches import Windows, training_windows
from slmrec.training.folds import digests_of_users

_PACKAGE = Path(__file__).resolve().parents[1]
_DECIDING = (
    "machine_code.py",
    "models",
    "training/batches.py",
    "training/folds.py",
    "data/histories.py",
    "data/ordering.py",
    "distillation",
)
"""Code that decides what a shard holds, in the package; of `distillation` not what reads a shard."""
_READERS = frozenset(
    {
        "read_cache.py",
        "losses.py",
        "distill.py",
        "student.py",
        "student_memory.py",
        "make_student.py",
        "distance.py",
        "block_influence.py",
        "sample.py",
    }
)


@dataclass(frozen=True)
class ShardPlan:
    """A shard before it is computed."""

    number: int
    count: int
    windows: Windows
    layout: Layout

    @property
    def rows(self) -> int:
        """Training positions in the shard."""
        return self.windows.targets

    @property
    def bytes(self) -> int:
        """Size on disk. Nothing is written twice, so this is also what writing it takes."""
        return self.layout.bytes(self.rows)

    @cached_property
    def positions(self) -> Int64:
        """Position in the sequences of the item that each row reads, ascending: int64 [rows]."""
        length = self.windows.length
        inside = np.arange(self.rows) - np.repeat(np.cumsum(length) - length, length)
        return np.repeat(self.windows.start, length) + inside


def plan_shard(
    sequences: Sequences, teacher: Teacher, shard: str, config: CacheTeacher
) -> ShardPlan:
    """Plan the shard `NUMBER/COUNT`. Raises `ConfigError` when it is not written like that."""
    number, count = parse_shard(shard)
    windows = training_windows(sequences, teacher.max_length)
    layout = Layout(
        blocks=config.blocks,
        width=teacher.width,
        top_k=min(config.top_k, sequences.item_count),
        max_length=teacher.max_length,
        states=config.states,
        attention=config.attention,
    )
    mine = shard_of_users(sequences, count)[windows.user] == number
    return ShardPlan(number, count, windows.select(mine), layout)


def parse_shard(text: str) -> tuple[int, int]:
    """`"1/4"` → (1, 4). Raises `ConfigError`."""
    try:
        number, count = (int(part) for part in text.split("/"))
    except ValueError:
        number, count = -1, 0
    if not 0 <= number < count:
        raise ConfigError(f"shard '{text}': expected NUMBER/COUNT with 0 <= NUMBER < COUNT")
    return number, count


def shard_of_users(sequences: Sequences, count: int) -> NDArray[np.uint64]:
    """Give the shard of each user, by a digest of the id: it stays when other users come or go.

    All sessions of a user fall to one shard.
    """
    return digests_of_users(sequences) % np.uint64(count)


def require_space(plan: ShardPlan, free_bytes: int) -> None:
    """Refuse, with the numbers, when a shard will not fit on the disk. Raises `SlmrecError`."""
    if plan.bytes > free_bytes:
        raise SlmrecError(
            f"teacher cache: shard {plan.number}/{plan.count} needs {plan.bytes / 2**20:,.1f} MiB "
            f"for {plan.rows:,} positions and the disk has {free_bytes / 2**20:,.1f} MiB left; free "
            "some, lower cache_teacher.blocks or top_k, or set cache_teacher.states to int8"
        )


def shard_key(
    plan: ShardPlan,
    sequences: Sequences,
    config: CacheTeacher,
    inputs: Mapping[str, Artifact],
    device: str = "cpu",
) -> str:
    """Digest of everything that decides the arrays of a shard, in hexadecimal.

    That is what its windows read, whose they are, the catalogue's size, the settings, the kind of
    device that the teacher runs on, the code, and the bytes of every input but the sequences; where
    those inputs came from is not part of it, nor which device was asked for.
    Positions are not either: new interactions of other users move them and change nothing else.
    """
    windows = hashlib.sha256(plan.windows.length.tobytes())
    windows.update(digests_of_users(sequences)[plan.windows.user].astype("<u8").tobytes())
    for part in chunks(plan.rows):
        windows.update(sequences.items[plan.positions[part]].astype("<i4").tobytes())
    teacher = {
        name: {"kind": artifact.kind, **_file_digests(artifact)}
        for name, artifact in inputs.items()
        if name != "sequences"
    }
    decides = {
        "windows": windows.hexdigest(),
        "items": sequences.item_count,
        "config": config.model_copy(update={"device": device}).to_json(),
        "code": code_digest(),
        "teacher": teacher,
    }
    return digest_text(canonical_json(decides))


def _file_digests(artifact: Artifact) -> dict[str, str]:
    names = sorted(artifact.files)
    return dict(zip(names, digest_files([artifact.file(name) for name in names]), strict=True))


@cache
def code_digest(package: Path = _PACKAGE) -> str:
    """Digest of the code that decides what a shard holds, in hexadecimal."""
    digest = hashlib.sha256(torch.__version__.encode())
    for name in _DECIDING:
        place = package / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if path.name not in _READERS:
                digest.update(path.relative_to(package).as_posix().encode() + b"\0")
                digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()
