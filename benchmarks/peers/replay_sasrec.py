"""RePlay's SASRec, driven as its documentation does; `protocol.py` says what goes in and out.

`replay.nn.sequential.SasRec` in `replay.nn.lightning.LightningModule`, fed by `ParquetModule`: what
0.22 documents; the class in `replay.models.nn.sequential` is deprecated, and with it the loss SCE.
Defaults but for what is asked: dropout .3 and the parts that `SasRec.from_params` takes, Adam at .001
with betas (.9, .98). Facts about it:

- A user is one row, padded on the left to the full length whatever the batch holds. `--trim` cuts a
  batch to its longest row (`TargetAwareAdaptiveTrimTransform`); `--bucket-size N` passes rows of like
  length through the layers together, N at a time (`LengthBucketedQueryEncoder`). Neither is on by
  default.
- CE is the softmax over the catalogue, the default of `from_params`; its logits are made at every
  position, padded ones too. With one right item a position LogInCE and LogOutCE say the same, LogInCE
  but for a millionth that it adds to the probability. LogInCE makes logits at real targets alone,
  LogOutCE makes them everywhere, then selects.
- BCE is over the whole catalogue: the sum over all items, divided by the number of targets alone; its
  logits are made at every position, too.
- BCESampled, CESampled, LogInCESampled take negatives drawn once a batch, uniformly, without
  repetition, and shared by all its positions; the right item among them is masked. GroupedCESampled
  does the same with cheaper masking. Losses with weights of samples are left out: there are none.
- The feed-forward part is as wide as the model unless told.
- Rows come from a Parquet file read anew every epoch, shuffled in partitions of a million rows.
- It trains through Lightning, which logs loss and learning rate at every step. A progress bar,
  loggers and checkpoints, on in Lightning by default, are off here.
- Predictions go through `Trainer.predict` and a callback that keeps the best of every batch of 512
  users, with `SeenItemsFilter`.
- No size of batches is a default; its documentation shows 64 and 128.
"""

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import protocol
import pyarrow
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn import loss as losses
from replay.nn.agg import SumAggregator
from replay.nn.embedding import SequenceEmbedding
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import TorchTopItemsCallback
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.mask import DefaultAttentionMask
from replay.nn.sequential import (
    LengthBucketedQueryEncoder,
    PositionAwareAggregator,
    SasRec,
    SasRecBody,
    SasRecTransformerLayer,
)
from replay.nn.transform import (
    AdaptiveTrimTransform,
    GroupedUniformNegativeSamplingTransform,
    TargetAwareAdaptiveTrimTransform,
    UniformNegativeSamplingTransform,
)
from replay.nn.transform.template import make_default_sasrec_transforms

PACKAGES = ["replay-rec", "torch", "lightning", "numpy", "pandas", "pyarrow"]
LOSSES: dict[str, Callable[[int, int], torch.nn.Module]] = {
    "softmax": lambda items, rows: losses.CE(),
    "BCE": lambda items, rows: losses.BCE(),
    "LogInCE": lambda items, rows: losses.LogInCE(cardinality=items),
    "LogOutCE": lambda items, rows: losses.LogOutCE(cardinality=items),
    "BCESampled": lambda items, rows: losses.BCESampled(),
    "CESampled": lambda items, rows: losses.CESampled(),
    "LogInCESampled": lambda items, rows: losses.LogInCESampled(),
    "GroupedCESampled": lambda items, rows: losses.GroupedCESampled(rows, cardinality=items),
}
LISTED_AT_ONCE = 512


class Watch(lightning.Callback):
    """Times the epochs."""

    def __init__(self, outcome: protocol.Outcome) -> None:
        self.outcome = outcome
        self.started = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop it."""
        seconds = time.perf_counter() - self.started
        trainer.should_stop = self.outcome.ended(seconds, pl_module.model.state_dict)


def schema_of(items: int, width: int) -> TensorSchema:
    """Describe the one column that the model reads; `items` stands for padding."""
    return TensorSchema(
        [
            TensorFeatureInfo(
                "item_id",
                feature_type=FeatureType.CATEGORICAL,
                is_seq=True,
                feature_hint=FeatureHint.ITEM_ID,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
                cardinality=items,
                padding_value=items,
                embedding_dim=width,
            )
        ]
    )


def model_of(schema: TensorSchema, loss: torch.nn.Module, asked: Any) -> SasRec:
    """Put together what `SasRec.from_params` does, with the loss that is asked for."""
    encoder: torch.nn.Module = SasRecTransformerLayer(
        embedding_dim=asked.width,
        num_heads=asked.heads,
        num_blocks=asked.layers,
        dropout=asked.dropout,
        activation="relu",
    )
    if asked.bucket_size:
        encoder = LengthBucketedQueryEncoder(encoder, asked.bucket_size)
    body = SasRecBody(
        embedder=SequenceEmbedding(schema=schema),
        embedding_aggregator=PositionAwareAggregator(
            SumAggregator(embedding_dim=asked.width),
            max_sequence_length=asked.length,
            dropout=asked.dropout,
        ),
        attn_mask_builder=DefaultAttentionMask(
            reference_feature_name=schema.item_id_feature_name, num_heads=asked.heads
        ),
        encoder=encoder,
        output_normalization=torch.nn.LayerNorm(asked.width),
    )
    return SasRec(body=body, loss=loss)


def transforms_of(schema: TensorSchema, items: int, asked: Any) -> dict[str, list[Any]]:
    """Turn rows into batches as RePlay's template does; draw negatives, trim where asked."""
    transforms = make_default_sasrec_transforms(schema)
    if asked.trim:
        name = schema.item_id_feature_name
        # before targets get one more dimension, and items are put away among the features
        transforms["train"].insert(2, TargetAwareAdaptiveTrimTransform([name, "positive_labels"]))
        transforms["predict"].insert(1, AdaptiveTrimTransform(name))
    if asked.loss.startswith("Grouped"):
        transforms["train"].append(
            GroupedUniformNegativeSamplingTransform(items, asked.negatives, asked.batch_size)
        )
    elif asked.loss.endswith("Sampled"):
        transforms["train"].append(UniformNegativeSamplingTransform(items, asked.negatives))
    return transforms


def main() -> None:
    """Train once, list, write, print."""
    parser = protocol.parser(
        "RePlay",
        list(LOSSES),
        batch_size=128,
        dropout=0.3,
        learning_rate=0.001,
        negatives=256,
    )
    parser.add_argument("--trim", action="store_true", help="cut batches to their longest row")
    parser.add_argument("--bucket-size", type=int, default=0, help="0: no buckets")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning|replay")
    torch.set_num_threads(asked.threads)
    pyarrow.set_cpu_count(asked.threads)
    lightning.seed_everything(asked.seed, verbose=False)

    log = protocol.read(asked.training)
    outcome = protocol.Outcome(
        "RePlay",
        PACKAGES,
        log,
        protocol.settings_of(asked),
        targets=protocol.targets_of(log, asked.length),
        rows=log["user"].nunique(),
    )
    user_ids, item_ids = np.unique(log["user"]), np.unique(log["item"])
    items = len(item_ids)
    encoded = pd.DataFrame(
        {
            "user_id": np.searchsorted(user_ids, log["user"]),
            "item_id": np.searchsorted(item_ids, log["item"]),
        }
    )
    rows = encoded.groupby("user_id")["item_id"].agg(list).reset_index()
    rows["seen_ids"] = rows["item_id"]
    longest = int(rows["item_id"].str.len().max())

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "sequences.parquet")
        rows.to_parquet(path, index=False)
        schema = schema_of(items, asked.width)
        sequence = {"padding": items}
        data = ParquetModule(
            batch_size={"train": asked.batch_size, "predict": LISTED_AT_ONCE},
            metadata={
                # one more, for a target at every position
                "train": {"user_id": {}, "item_id": {"shape": asked.length + 1} | sequence},
                "predict": {
                    "user_id": {},
                    "item_id": {"shape": asked.length} | sequence,
                    "seen_ids": {"shape": longest} | sequence,
                },
            },
            transforms=transforms_of(schema, items, asked),
            train_path=path,
            predict_path=path,
        )
        model = model_of(schema, LOSSES[asked.loss](items, asked.batch_size), asked)
        optimizer = OptimizerFactory(learning_rate=asked.learning_rate)
        module = LightningModule(model, optimizer_factory=optimizer)
        quiet = {
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        trainer = lightning.Trainer(
            max_epochs=asked.epochs,
            limit_train_batches=outcome.batches,
            limit_val_batches=0,
            callbacks=[Watch(outcome)],
            **quiet,
        )
        outcome.fit(lambda: trainer.fit(module, datamodule=data))

        def listed() -> pd.DataFrame:
            best = TorchTopItemsCallback(
                top_k=min(protocol.LISTED, items),
                query_column="user_id",
                postprocessors=[SeenItemsFilter(items)],
            )
            lightning.Trainer(callbacks=[best], **quiet).predict(
                module, datamodule=data, return_predictions=False
            )
            users, found, scores = (part.numpy() for part in best.get_result())
            lists = protocol.table(user_ids[users], item_ids[found])
            return lists[np.isfinite(scores.ravel())]

        outcome.make_lists(model.load_state_dict, listed)
    outcome.write(asked.lists)


if __name__ == "__main__":
    main()
