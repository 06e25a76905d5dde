"""Sequences that can be learned by heart, as an artifact, and settings that learn them in a moment."""

from pathlib import Path

import numpy as np
import polars as pl

from slmrec.artifacts import publish
from slmrec.config import DistillStudent, PretrainItems, Training, TrainTeacher

QUICK = Training(epochs=2, batch_tokens=128, dropout=0.1, embedding_dropout=0.1)
SASREC = PretrainItems(width=16, layers=1, heads=2, max_length=8, training=QUICK)
TEACHER = TrainTeacher(width=16, layers=4, heads=2, feed_forward=32, max_length=8, training=QUICK)
STUDENT = DistillStudent(layers=1, training=QUICK)


def publish_circles(place: Path) -> None:
    """Sixty users who walk the circle 1 → 2 → … → 12 → 1; the last two items are held out."""
    histories = [[(user + step) % 12 + 1 for step in range(9)] for user in range(60)]
    offsets = np.arange(0, 60 * 9 + 1, 9)
    arrays = {
        "offsets": offsets,
        "items": np.asarray(histories, dtype=np.int32).ravel(),
        "timestamps": np.arange(60 * 9) * 3600,
        "train_end": offsets[1:] - 2,
        "validation_end": offsets[1:] - 1,
    }
    with publish(place, "sequences", properties={"items": 12}) as staging:
        for name, array in arrays.items():
            np.save(staging / f"{name}.npy", array)
        ids = {"item_index": range(1, 13), "item_id": [f"i{n}" for n in range(1, 13)]}
        pl.DataFrame(ids).write_parquet(staging / "items.parquet")
        users = {"user_id": [f"u{n}" for n in range(60)]}
        pl.DataFrame(users).write_parquet(staging / "users.parquet")
