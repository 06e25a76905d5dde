"""The sequences artifact: users' histories as memory-mapped arrays in time order."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.arrays import read_array
from slmrec.artifacts import Artifact, open_artifact

KIND = "sequences"
CARD = "card.json"
PADDING = 0  # item index 0 is never an item
SPLITS = ("train", "validation", "test")
"""In the order of time."""

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """Histories in compressed rows, splits as positions.

    User `u` touched `items[offsets[u]:offsets[u + 1]]` in that order. Of those, positions before
    `train_end[u]` are training, before `validation_end[u]` validation, the rest test.

    - `offsets` int64 [users + 1]; `items` int32 [interactions], 1 … item_count;
      `timestamps` int64 [interactions], seconds
    - `train_end`, `validation_end` int64 [users], absolute positions into `items`
    """

    offsets: Int64
    items: Int32
    timestamps: Int64
    train_end: Int64
    validation_end: Int64
    item_count: int
    """Items, padding not counted; embedding tables have `item_count + 1` rows."""
    artifact: Artifact | None = None
    order_only: bool = False
    """Whether `timestamps` are positions in a history and nothing more."""

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.offsets) - 1

    @property
    def interactions(self) -> int:
        """Number of interactions."""
        return len(self.items)

    @cached_property
    def item_table(self) -> pl.DataFrame:
        """Columns `ItemIndex`; row i is item index i + 1."""
        assert self.artifact is not None, "sequences that were not loaded have no item table"
        return pl.read_parquet(self.artifact.file("items.parquet"))

    @cached_property
    def user_table(self) -> pl.DataFrame:
        """Columns `UserIndex`; row i is user index i."""
        assert self.artifact is not None, "sequences that were not loaded have no user table"
        return pl.read_parquet(self.artifact.file("users.parquet"))

    def train_items(self) -> Int32:
        """Every training interaction's item, users one after another: int32 [training]."""
        return self.items[self.split_mask("train")]

    def history(self, user: int) -> Int32:
        """All that a user touched, oldest first: int32."""
        start, end = self.offsets[user], self.offsets[user + 1]
        return np.asarray(self.items[start:end], dtype=np.int32)

    def split_mask(self, split: str, first: int = 0, after: int | None = None) -> NDArray[np.bool_]:
        """Which interactions belong to `train`, `validation` or `test`: bool [interactions].

        `first` and `after` limit it to the interactions of a range of users.
        """
        return self.split_codes(first, after) == SPLITS.index(split)

    def split_codes(self, first: int = 0, after: int | None = None) -> NDArray[np.int8]:
        """Which split each interaction belongs to, as a position in `SPLITS`: int8 [interactions].

        `first` and `after` limit it to the interactions of a range of users.
        """
        after = self.users if after is None else after
        bounds = np.stack(
            [
                self.offsets[first:after],
                self.train_end[first:after],
                self.validation_end[first:after],
                self.offsets[first + 1 : after + 1],
            ],
            axis=1,
        )
        codes = np.tile(np.arange(len(SPLITS), dtype=np.int8), after - first)
        return np.repeat(codes, np.diff(bounds, axis=1).ravel())

    def targets(self, split: str) -> tuple[Int64, Int64]:
        """Users to evaluate and the position of the item to predict, at most one a user.

        The target is the user's first interaction of the split; everything before it is known
        (for `test` that includes the validation items). Users without an earlier interaction have
        nothing to predict from and are left out. Returns (users, positions), int64 each.
        """
        start = {"validation": self.train_end, "test": self.validation_end}[split]
        end = {"validation": self.validation_end, "test": self.offsets[1:]}[split]
        users = np.flatnonzero((start < end) & (start > self.offsets[:-1]))
        return users, start[users]

    def sample_histories(self, split: str, most: int = 512) -> list[Int32]:
        """What is known of up to `most` users before `split` ends, evenly spread over user indices.

        Empty histories are left out. For calibration and comparison, where any fixed sample will do.
        """
        end = {"train": self.train_end, "validation": self.validation_end}[split]
        users = np.flatnonzero(end > self.offsets[:-1])
        chosen = users[np.linspace(0, len(users) - 1, min(most, len(users)), dtype=np.int64)]
        return [np.asarray(self.items[self.offsets[user] : end[user]]) for user in chosen]


def load_sequences(directory: Path | str) -> Sequences:
    """Open a sequences artifact, its arrays memory-mapped. Raises `ArtifactError`."""
    artifact = open_artifact(directory, KIND)

    def array(name: str) -> NDArray[np.int64]:
        return read_array(artifact, f"{name}.npy", mapped=True)

    return Sequences(
        offsets=array("offsets"),
        items=array("items"),  # type: ignore[arg-type]
        timestamps=array("timestamps"),
        train_end=array("train_end"),
        validation_end=array("validation_end"),
        item_count=int(artifact.properties["items"]),
        artifact=artifact,
        order_only=CARD in artifact.files and bool(artifact.json(CARD).get("order_only")),
    )
