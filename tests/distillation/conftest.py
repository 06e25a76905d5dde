"""Teachers with weights that leave no path negligible, and sequences that are artifacts."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.data.sequences import Sequences, load_sequences
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.models.checkpoint import write_model
from slmrec.models.decoder import Decoder, DecoderShape


def random_decoder(*, seed: int = 4, max_length: int = 4) -> Decoder:
    """Four layers of width 8 over twelve items."""
    torch.manual_seed(seed)
    shape = DecoderShape(
        items=12, width=8, heads=2, feed_forward=(8, 8, 8, 8), max_length=max_length
    )
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


class CountingTeacher(NetworkTeacher):
    """A decoder that knows which items it was asked about."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder)
        self.asked: list[int] = []
        """Items at the real positions, one call after another."""

    def read(self, batch, blocks, *, attention=False):
        self.asked += batch.items[batch.targets > 0].tolist()
        return super().read(batch, blocks, attention=attention)


@pytest.fixture
def make_decoder() -> Callable[..., Decoder]:
    return random_decoder


@pytest.fixture
def teacher() -> CountingTeacher:
    return CountingTeacher(random_decoder())


@pytest.fixture
def store_sequences(tmp_path: Path) -> Callable[[Sequences, Sequence[str]], Sequences]:
    """Publish sequences with the ids of their users, and open them."""

    def store(sequences: Sequences, users: Sequence[str]) -> Sequences:
        place = tmp_path / f"sequences-{len(list(tmp_path.iterdir()))}"
        properties = {"items": sequences.item_count}
        with publish(place, "sequences", properties=properties) as staging:
            for name in ("offsets", "items", "timestamps", "train_end", "validation_end"):
                np.save(staging / f"{name}.npy", getattr(sequences, name))
            pl.DataFrame({"user_id": users}).write_parquet(staging / "users.parquet")
        return load_sequences(place)

    return store


@pytest.fixture
def store_teacher(tmp_path: Path) -> Callable[..., Artifact]:
    """Publish a decoder as a teacher."""

    def store(decoder: Decoder, made_from: Artifact | None = None) -> Artifact:
        place = tmp_path / f"teacher-{len(list(tmp_path.iterdir()))}"
        inputs = {} if made_from is None else {"sequences": made_from}
        with publish(place, "teacher", inputs=inputs) as staging:
            write_model(staging, decoder)
        return open_artifact(place)

    return store


class Listening:
    """A progress that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def update(self, done: float, total: float, note: str = "") -> None:
        """Ignore."""

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def progress() -> Listening:
    return Listening()
