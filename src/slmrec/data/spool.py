"""Rows on their way from the source's order to the order of users and time, in bounded memory.

A first pass writes rows as they come, a second one deals them out to files of about a million rows
by the rank of their user, and each file is then sorted alone. Disk takes what memory does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from slmrec.data.ahead import mapped_ahead
from slmrec.data.ordering import stable_order, starts_of_runs

PARTITION_ROWS = 1_000_000
_DEAL_ROWS = 1_000_000
_OPEN_FILES = 256

ROW = np.dtype(
    [
        ("user", np.int32),
        ("item", np.int32),
        ("moment", np.int64),  # microseconds since 1970
        ("row", np.int64),  # position in the source
        ("rating", np.float32),  # NaN where there is none
    ]
)
"""One interaction as whole numbers; before ranking, users and items are codes."""
Rows = NDArray[np.void]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass
class Spool:
    """Appends rows to a file and gives them back, in partitions of whole users."""

    folder: Path
    rows: int = 0
    _file: BinaryIO | None = field(default=None, repr=False)

    def append(self, rows: Rows) -> None:
        """Write rows (dtype `ROW`) after those already there."""
        if self._file is None:
            self._file = (self.folder / "rows").open("wb")
        self._file.write(rows.data)
        self.rows += len(rows)

    def partitions(self, user_rank: Int32, item_rank: Int32, rows_of_user: Int64) -> Iterator[Rows]:
        """Give the rows with ranks for codes, in partitions by ascending user rank.

        `user_rank` and `item_rank` int32 [codes]; `rows_of_user` int64 [users], by rank. Inside a
        partition rows are as they came. The spool is empty afterwards.
        """
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if not self.rows:  # every row was set aside
            return
        ends = np.cumsum(rows_of_user)
        partition_of_user = ((ends - 1) // PARTITION_ROWS).astype(np.int32)
        # Users of one partition are neighbours; numbers without users would be empty files.
        partition_of_user = (np.cumsum(starts_of_runs(partition_of_user)) - 1).astype(np.int32)
        partitions = int(partition_of_user[-1]) + 1
        self._deal(user_rank, item_rank, partition_of_user)
        for number in range(partitions):
            path = self._path(number)
            rows = np.fromfile(path, ROW)
            path.unlink()
            yield rows

    def _deal(self, user_rank: Int32, item_rank: Int32, partition_of_user: Int32) -> None:
        source = self.folder / "rows"

        def ranked(first: int) -> tuple[Rows, Int32]:
            rows = np.fromfile(source, ROW, _DEAL_ROWS, offset=first * ROW.itemsize)
            rows["user"] = user_rank[rows["user"]]
            rows["item"] = item_rank[rows["item"]]
            partition = partition_of_user[rows["user"]]
            if (np.diff(partition) < 0).any():
                order = stable_order([partition])
                rows, partition = rows[order], partition[order]
            return rows, partition

        files: dict[int, BinaryIO] = {}
        for rows, partition in mapped_ahead(ranked, range(0, self.rows, _DEAL_ROWS)):
            starts = np.flatnonzero(starts_of_runs(partition))
            for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
                self._write(files, int(partition[start]), rows[start:end])
        for file in files.values():
            file.close()
        source.unlink()

    def _write(self, files: dict[int, BinaryIO], partition: int, rows: Rows) -> None:
        if partition not in files:
            if len(files) >= _OPEN_FILES:
                files.pop(next(iter(files))).close()
            files[partition] = self._path(partition).open("ab")
        files[partition].write(rows.data)

    def _path(self, partition: int) -> Path:
        return self.folder / f"partition-{partition:05d}"
