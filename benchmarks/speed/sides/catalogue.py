"""Make lists from a catalogue of a size, by a student whose weights are chance.

    python -m benchmarks.speed.sides.catalogue FOLDER --items N --weights float32|int8 [--threads N]

The student has the sizes of `pipeline/configs/default.yaml`, its memory of transitions included; what
it knows decides nothing about its speed. FOLDER keeps the exported model for the next call.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.speed.sides.prepare import default_settings
from benchmarks.speed.turns import peak_megabytes
from slmrec.artifacts import open_artifact
from slmrec.columns import ItemIndex
from slmrec.compress.export import export_servable
from slmrec.config import Variant
from slmrec.evaluation.ranking import answer
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.scorer import History
from slmrec.models.servable import Servable

SINGLE, WARM_UP = 50, 5
"""Requests for one person, and those before the clock starts."""
SCORES, MOST_USERS = 2**31, 50_000
"""Scores, and people, at most, that the rate is of."""
LENGTH = 10
"""Items in a history: about the mean of logs of purchases."""


def main() -> None:
    """Answer one person after the other, then many at once, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--weights", choices=["float32", "int8"], required=True)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    place = asked.folder / f"{asked.items}-{asked.weights}"
    if not (place / "manifest.json").exists():
        export(place, asked.items, asked.weights)
    model = Servable(open_artifact(place), asked.threads)
    users = min(max(SCORES // asked.items, 64), MOST_USERS)
    histories = people(users, asked.items)

    def timed(asking: list[History]) -> float:
        started = time.perf_counter()
        answer(model, asking, exclude_seen=True)
        return time.perf_counter() - started

    single = [timed([one]) for one in histories[: SINGLE + WARM_UP]][WARM_UP:]
    timed(histories[: max(users // 10, 32)])
    told = {
        "users_per_second": users / timed(histories),
        "batch1_p50_ms": 1000 * float(np.quantile(single, 0.5)),
        "batch1_p95_ms": 1000 * float(np.quantile(single, 0.95)),
        "table_bytes": asked.items * default_width() * (4 if asked.weights == "float32" else 1),
        "flop_per_user": 2 * asked.items * default_width(),
        "peak_rss_mb": peak_megabytes(),
    }
    print(json.dumps(told))


def default_width() -> int:
    """Of the default student."""
    width = default_settings().distill_student.width
    assert width is not None
    return width


def export(place: Path, items: int, weights: str) -> None:
    """Publish a student of so many items."""
    settings = default_settings().distill_student
    torch.manual_seed(0)
    model = Decoder(
        DecoderShape(
            items=items,
            width=default_width(),
            heads=settings.heads or 4,
            feed_forward=(settings.feed_forward or 4 * default_width(),) * settings.layers,
            max_length=50,
            memory=settings.memory,
        )
    ).eval()
    if model.memory is not None:
        model.memory.neighbours.random_(1, items + 1)
        model.memory.weights.uniform_(0.1, 1).copy_(model.memory.weights.sort(descending=True)[0])
        model.memory.gain.fill_(1)
    sample = people(64, items)
    numbers = np.arange(1, items + 1)
    catalogue = pl.DataFrame(
        {
            ItemIndex.INDEX: numbers.astype(np.int32),
            ItemIndex.ITEM: numbers.astype(str),
            ItemIndex.COUNT: np.ones(items, np.int64),
        }
    )
    variant = Variant.model_validate({"name": "made-up", "weights": weights})
    export_servable(model, catalogue, variant, place, calibration=sample, sample=sample, inputs={})


def people(users: int, items: int) -> list[History]:
    """Histories of items that chance has chosen."""
    rng = np.random.default_rng(0)
    return list(rng.integers(1, items + 1, (users, LENGTH)).astype(np.int32))


if __name__ == "__main__":
    main()
