"""A small servable of a network with random weights."""

from pathlib import Path

import numpy as np
import polars as pl
import torch

from slmrec.artifacts import Artifact
from slmrec.compress.export import export_servable
from slmrec.config import Variant
from slmrec.models.decoder import Decoder, DecoderShape


def export_small(
    place: Path, catalogue: pl.DataFrame, weights: str = "float32", *, seed: int = 7
) -> Artifact:
    """One layer, 16 wide, that reads four items of a catalogue (columns `ItemIndex`)."""
    torch.manual_seed(seed)
    shape = DecoderShape(items=len(catalogue), width=16, heads=2, feed_forward=(16,), max_length=4)
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    artifact, _ = export_servable(
        model,
        catalogue,
        Variant(name=weights, weights=weights),
        place,
        calibration=[np.arange(1, 5, dtype=np.int32), np.array([2, 3], dtype=np.int32)],
        sample=[],
        inputs={},
    )
    return artifact


def catalogue_of(counts: list[int]) -> pl.DataFrame:
    """Items `i1`, `i2` and so on, touched so many times."""
    numbers = range(1, len(counts) + 1)
    ids = [f"i{number}" for number in numbers]
    return pl.DataFrame({"item_index": numbers, "item_id": ids, "count": counts})
