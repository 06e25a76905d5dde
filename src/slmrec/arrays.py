"""Arrays out of artifacts: `.npy` files whose header is held against the file before it is believed."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from slmrec.artifacts import Artifact
from slmrec.errors import ArtifactError


def read_array(artifact: Artifact, name: str, *, mapped: bool = False) -> NDArray[Any]:
    """The array in an artifact's file `name`, memory-mapped and read-only where `mapped`.

    Raises `ArtifactError` when it is no plain array: its header cannot be read, holds Python objects,
    which are never made, or promises another number of bytes than the file has.
    """
    path = artifact.file(name)
    try:
        _require_plain(path)
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, OSError, EOFError, TypeError, SyntaxError) as error:
        raise ArtifactError(
            f"{path}: not a plain array ({str(error)[:300]}); run the pipeline again"
        ) from None
    return array


def _require_plain(path: Path) -> None:
    with path.open("rb") as stream:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format {version}, expected (1, 0) or (2, 0)")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        promised = stream.tell() + math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    if promised != size or min(shape, default=0) < 0:
        raise ValueError(f"its header promises {promised:,} bytes, the file has {size:,}")
