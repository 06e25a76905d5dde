"""RecTools' SASRec, driven as its own tutorials do; `protocol.py` says what goes in and out.

`rectools.models.SASRecModel` with its defaults but for what is asked: dropout .2, Adam at .001 with
betas (.9, .98), batches of 128 users, one negative for the losses that draw any. Facts about it:

- A user is one row, padded on the left to the full length whatever the batch holds.
- The default loss is the softmax over the catalogue; its logits are made at every position, padded
  ones too. The README recommends `sampled_softmax`, and for the variant "eSASRec" also LiGR layers
  (`--blocks ligr`).
- BCE, gBCE and sampled_softmax draw negatives for every position anew, uniformly from the catalogue,
  also the padded ones; they may hit the target. gBCE counts in float64.
- The feed-forward part of its own layers is as wide as the model; that of LiGR layers four times.
- Padded positions are not masked as keys in attention unless told (`use_key_padding_mask`); they are
  set to zero instead.
- It trains through PyTorch Lightning, without progress bar, logs and checkpoints unless told: its own
  trainer is made anew here, with a stopwatch.
- `recommend` lists users by products with all items, 128 at a time, seen items left out.
"""

import time
import warnings
from typing import Any

import pandas as pd
import protocol
import pytorch_lightning as lightning
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers
from rectools.models.nn.transformers.sasrec import SASRecTransformerLayers

BLOCKS = {"sasrec": SASRecTransformerLayers, "ligr": LiGRLayers}
PACKAGES = ["rectools", "torch", "pytorch-lightning", "numpy", "pandas", "scipy"]


class Watch(lightning.Callback):
    """Times the epochs. RecTools copies its trainer, and this with it: the outcome stays one."""

    def __init__(self, outcome: protocol.Outcome) -> None:
        self.outcome = outcome
        self.started = 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Watch":
        return self

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop it."""
        seconds = time.perf_counter() - self.started
        trainer.should_stop = self.outcome.ended(seconds, pl_module.torch_model.state_dict)


def main() -> None:
    """Train once, list, write, print."""
    parser = protocol.parser(
        "RecTools",
        ["softmax", "BCE", "gBCE", "sampled_softmax"],
        batch_size=128,
        dropout=0.2,
        learning_rate=0.001,
        negatives=1,
    )
    parser.add_argument("--blocks", choices=BLOCKS, default="sasrec")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    torch.set_num_threads(asked.threads)
    lightning.seed_everything(asked.seed, verbose=False)

    log = protocol.read(asked.training)
    outcome = protocol.Outcome(
        "RecTools",
        PACKAGES,
        log,
        protocol.settings_of(asked),
        targets=protocol.targets_of(log, asked.length),
        rows=log["user"].nunique(),
    )
    # RecTools orders by a column of times: the position, as so many seconds.
    interactions = pd.DataFrame(
        {
            Columns.User: log["user"],
            Columns.Item: log["item"],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(log["position"], unit="s"),
        }
    )
    dataset = Dataset.construct(interactions)
    users = log["user"].unique()

    def trainer() -> lightning.Trainer:
        return lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=asked.epochs,
            limit_train_batches=outcome.batches,
            min_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Watch(outcome)],
        )

    model = SASRecModel(
        n_blocks=asked.layers,
        n_heads=asked.heads,
        n_factors=asked.width,
        dropout_rate=asked.dropout,
        session_max_len=asked.length,
        loss=asked.loss,
        n_negatives=asked.negatives,
        lr=asked.learning_rate,
        batch_size=asked.batch_size,
        transformer_layers_type=BLOCKS[asked.blocks],
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
    outcome.fit(lambda: model.fit(dataset))

    def listed() -> pd.DataFrame:
        found = model.recommend(users=users, dataset=dataset, k=protocol.LISTED, filter_viewed=True)
        names = {Columns.User: "user", Columns.Rank: "rank", Columns.Item: "item"}
        return found.rename(columns=names)[list(names.values())]

    outcome.make_lists(model.torch_model.load_state_dict, listed)
    outcome.write(asked.lists)


if __name__ == "__main__":
    main()
