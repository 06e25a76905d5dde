"""Numbers for ids: texts become codes as they are met, and codes become ranks at the end.

A log of a hundred million rows holds a few million different ids. Everything after the first pass
works on whole numbers, and the order of the ids' bytes, not of their arrival, decides who is who.
"""

from itertools import count

import numpy as np
import polars as pl
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
_NAMES = count()


class Identifiers:
    """Every id met so far, with a code for each and how often it was met."""

    def __init__(self) -> None:
        name = f"slmrec-{next(_NAMES)}"
        self._type = pl.Categorical(pl.Categories(name, namespace="slmrec"))
        # Polars forgets the codes of a category set that no column refers to.
        self._anchor = pl.Series([""], dtype=self._type)
        self._counts = np.zeros(1024, np.int64)

    def encode(self, texts: pl.Series) -> Codes:
        """Give the code of each text (no nulls), uint32 [rows]; those not met before get the next."""
        return texts.cast(self._type).to_physical().to_numpy()

    def texts(self, codes: Codes) -> pl.Series:
        """Give the text of each code."""
        return pl.Series(codes, dtype=pl.UInt32).cat.to(self._type).cast(pl.String)

    def count(self, codes: Codes) -> None:
        """Count rows by their codes."""
        found = np.bincount(codes)
        if len(found) > len(self._counts):
            grown = np.zeros(max(len(found), 2 * len(self._counts)), np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        self._counts[: len(found)] += found

    def ranked(self) -> tuple[pl.Series, Int32, Int64]:
        """Put the ids in the order of their bytes.

        Returns (ids text [ids], rank of a code int32 [codes], rows of an id int64 [ids]).
        """
        codes = np.flatnonzero(self._counts)
        texts = self.texts(codes.astype(np.uint32))
        order = texts.arg_sort().to_numpy()
        rank = np.full(len(self._counts), -1, np.int32)
        rank[codes[order]] = np.arange(len(codes), dtype=np.int32)
        return texts.gather(order), rank, self._counts[codes[order]]
