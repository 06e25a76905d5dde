"""A training of a moment that tests can also start as a process, or as several with torchrun.

python small_training.py [OUT SETTINGS]…

SETTINGS are keywords of `small_training` as JSON; of several, one is trained after the other.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from slmrec.config import Training
from slmrec.data.sequences import Sequences
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.progress import Silent
from slmrec.training import checkpoints as checkpoint_module
from slmrec.training.batches import Batch
from slmrec.training.loop import Losses, TrainingResult, train
from slmrec.training.pretrain import next_item_loss


class Stopped(Exception):
    """The training was ended from outside."""


class Watched(Silent):
    """Prints each step, keeps what is said, and may stop the training."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.said: list[str] = []

    def update(self, done: float, total: float, note: str = "") -> None:
        print(int(done), flush=True)
        if done == self.stop_at:
            raise Stopped

    def say(self, message: str) -> None:
        self.said.append(message)


class Extra(nn.Module):
    """A projection with a loss term of its own, and a parameter that no term uses."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(8, 8)
        self.unused = nn.Parameter(torch.zeros(3))


def circles(users: int = 41) -> Sequences:
    """Users who walk a circle of 20 items for 5 to 14 steps; the last two are held out."""
    histories = [[(7 * u + step) % 20 + 1 for step in range(5 + u % 10)] for u in range(users)]
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    return Sequences(
        offsets=offsets,
        items=np.concatenate([np.asarray(h, dtype=np.int32) for h in histories]),
        timestamps=np.arange(offsets[-1], dtype=np.int64) * 86_400,
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=20,
    )


def small_training(
    *,
    dropout: float = 0.2,
    loss: str = "softmax",
    epochs: int = 5,
    half_life: float | None = 100.0,
    users: int = 41,
    checkpoints: str | None = None,
    depends_on: str = "",
    stop_at: int | None = None,
    progress: Watched | None = None,
    device: str = "auto",
    precision: str = "float32",
) -> tuple[dict[str, torch.Tensor], TrainingResult]:
    """Weights and record of the training; an epoch has 5 batches of up to 8 rows."""
    torch.manual_seed(1)
    shape = SASRecShape(items=20, width=8, layers=1, heads=2, max_length=8)
    model, extra = SASRec(shape, dropout, dropout), Extra()
    config = Training(
        epochs=epochs,
        loss=loss,
        negatives=6,
        batch_tokens=64,
        learning_rate=1e-2,
        precision=precision,
        device=device,
        validate_every=1,
        recency_half_life_days=half_life,
    )

    def losses(batch: Batch, dtype: torch.dtype) -> Losses:
        real = batch.targets > 0
        table = model.items.weight
        apart = extra.projection(table[batch.items[real]]) - table[batch.targets[real]]
        return {
            **next_item_loss(model, batch, dtype, config.max_logit_mib),
            "apart": apart.square().mean(),
        }

    result, _ = train(
        model,
        losses,
        circles(users),
        config,
        progress or Watched(stop_at),
        extra,
        checkpoints=Path(checkpoints) if checkpoints else None,
        depends_on=depends_on,
    )
    return model.state_dict(), result


def main(*words: str) -> None:
    """Train, and let the first process write what came out."""
    checkpoint_module.CHECKPOINT_SECONDS = 0.0
    if "RANK" in os.environ:
        torch.distributed.init_process_group()
    for out, settings in zip(words[::2], words[1::2], strict=True):
        weights, result = small_training(**json.loads(settings))
        if os.environ.get("RANK", "0") == "0":
            save_file(weights, Path(out) / "weights.safetensors")
            (Path(out) / "result.json").write_text(json.dumps(result.to_json()))
    if "RANK" in os.environ:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
