"""Product quantization: an item's embedding as a few bytes, each naming a piece of it.

Jégou, Douze and Schmid, TPAMI 2011. Embeddings are cut into parts; the pieces that stand at one part of
all items are gathered in at most 256 groups, and an item keeps the number of its group.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded when they are asked for; this one takes half a second
from numpy.typing import NDArray

from slmrec.compress.integers import Floats

Doubles = NDArray[np.float64]

GROUPS = 256
ROUNDS = 20
MOST_ROWS = 20_000
"""Items whose pieces the groups are made of; the others join one, so many at a time."""


@dataclass(frozen=True)
class ProductCodes:
    """Rows as numbers of pieces: row i, part p ≈ `pieces[p, codes[i, p]]`.

    - `codes` uint8 [rows, parts]; `pieces` float32 [parts, groups, width / parts]
    """

    codes: NDArray[np.uint8]
    pieces: Floats

    def rows(self) -> Floats:
        """What the codes stand for: [rows, width]."""
        parts = np.arange(self.codes.shape[1])
        found: Floats = self.pieces[parts, self.codes].reshape(len(self.codes), -1)
        return found


def encode(rows: Floats, parts: int, seed: int) -> ProductCodes:
    """Find pieces for rows [rows, width] and name each row by them, one byte a part.

    The parts have to divide the width.
    """
    count, width = rows.shape
    assert width % parts == 0
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(count)[:MOST_ROWS]
    codes = np.empty((count, parts), dtype=np.uint8)
    pieces = np.zeros((parts, min(GROUPS, len(drawn)), width // parts), dtype=np.float32)
    for part, narrow in enumerate(np.split(rows, parts, axis=1)):
        cut = narrow.astype(np.float64)
        found = _groups(cut[drawn], pieces.shape[1], generator)
        pieces[part, : len(found)] = found
        for start in range(0, count, MOST_ROWS):
            here = slice(start, start + MOST_ROWS)
            codes[here, part] = scipy.cluster.vq.vq(cut[here], found)[0]
    return ProductCodes(codes, pieces)


def _groups(points: Doubles, most: int, generator: np.random.Generator) -> Doubles:
    different = np.unique(points, axis=0)
    if len(different) <= most:
        return different
    start = generator.choice(different, most, replace=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")  # it stays as it was
        found: Doubles = scipy.cluster.vq.kmeans2(points, start, iter=ROUNDS, minit="matrix")[0]
    return found
