"""How long an epoch of a decoder takes on a made-up log of a size.

    python -m benchmarks.speed.sides.growth --interactions N --items N --length N --layers N

People have as many interactions as the length is long, so that all positions are full.
"""

import argparse
import json
import time

import numpy as np
import torch

from benchmarks.speed.sides.epochs import Clock
from benchmarks.speed.turns import peak_megabytes
from slmrec.config import Training
from slmrec.data.sequences import Sequences
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.training.batches import Batch
from slmrec.training.loop import Losses, train
from slmrec.training.pretrain import next_item_loss

WIDTH = 64


def main() -> None:
    """Train one epoch and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("interactions", "items", "length", "layers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    sequences = made_up(asked.interactions, asked.items, asked.length)
    shape = DecoderShape(
        items=asked.items,
        width=WIDTH,
        heads=2,
        feed_forward=(4 * WIDTH,) * asked.layers,
        max_length=asked.length,
    )
    model = Decoder(shape, dropout=0.2, embedding_dropout=0.2)
    config = Training(epochs=1, recency_half_life_days=None)

    def loss(batch: Batch, dtype: torch.dtype) -> Losses:
        return next_item_loss(model, batch, dtype, config.max_logit_mib)

    clock = Clock()
    started = time.perf_counter()
    train(model, loss, sequences, config, clock)
    told = {"seconds": clock.stamps[-2] - started, "peak_rss_mb": peak_megabytes()}
    print(json.dumps(told))


def made_up(interactions: int, items: int, length: int) -> Sequences:
    """People whose histories are a window long each; Zipf items; nobody validates."""
    rng = np.random.default_rng(0)
    users = max(interactions // (length + 1), 1)
    offsets = np.arange(users + 1) * (length + 1)
    popularity = np.cumsum(1 / np.arange(1, items + 1) ** 0.8)
    chosen = np.searchsorted(popularity / popularity[-1], rng.random(int(offsets[-1])))
    return Sequences(
        offsets=offsets,
        items=(1 + chosen).astype(np.int32),
        timestamps=np.arange(int(offsets[-1])),
        train_end=offsets[1:],
        validation_end=offsets[1:],
        item_count=items,
    )


if __name__ == "__main__":
    main()
