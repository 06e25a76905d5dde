"""The teacher cache as the student sees it: all shards together, read by position."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmrec.arrays import read_array
from slmrec.artifacts import Artifact, open_artifact
from slmrec.data.sequences import Int64, Sequences
from slmrec.distillation.cache_format import KIND, CachedTeacher, Layout, decode
from slmrec.errors import ArtifactError


class TeacherCache:
    """All shards of a cache, memory-mapped."""

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
        self.layout = Layout.of(first)
        self.blocks = self.layout.blocks
        self.width = self.layout.width
        self.max_length = self.layout.max_length
        self._arrays = {
            name: [_array(artifact, name) for artifact in self.artifacts]
            for name in self.layout.arrays(0)
        }
        # position → shard and row in it; -1 where the teacher was not asked
        self._shard = np.full(sequences.interactions, -1, dtype=np.int16)
        self._row = np.full(sequences.interactions, -1, dtype=np.int64)
        for number, artifact in enumerate(self.artifacts):
            positions = _array(artifact, "positions")
            self._shard[positions] = number
            self._row[positions] = np.arange(len(positions))

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
        layouts = {Layout.of(artifact.properties) for artifact in self.artifacts}
        if len(layouts) > 1:
            raise ArtifactError(
                f"teacher cache: the shards hold different things ({layouts}); run cache_teacher "
                "again with one configuration for all"
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

        def gather(arrays: list[NDArray[Any]]) -> NDArray[Any]:
            out = np.empty((len(positions), *arrays[0].shape[1:]), dtype=arrays[0].dtype)
            for number, array in enumerate(arrays):
                mine = shard == number
                out[mine] = array[row[mine]]
            return out

        return decode({name: gather(arrays) for name, arrays in self._arrays.items()})


def _array(artifact: Artifact, name: str) -> NDArray[Any]:
    return read_array(artifact, f"{name}.npy", mapped=True)
