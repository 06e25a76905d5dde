"""RecBole's SASRec, driven as its own quick start does; `protocol.py` says what goes in and out.

`recbole.model.sequential_recommender.SASRec` with the Trainer, the sampler and the settings that
`run_recbole` takes for it, but for what is asked: dropout .5 in both places, Adam at .001, batches of
2,048 targets. The trainer is a subclass that holds a stopwatch to `_train_epoch`, the place its guide
names for changes. Facts about it:

- Every beginning of a history is a row of its own (`SequentialDataset.data_augmentation`): a user
  with n items gives n - 1 rows, padded on the right to the full length. The whole encoder runs for
  one target, the last, so a batch of 2,048 has 2,048 targets where the other peers' batch of 128
  users has as many as these users have items. No target is lost in a long history: each has the
  `--length` items before it.
- CE is the softmax over the catalogue and the default; logits are made at that last position alone,
  so none are made for padding. The padding's own row of the item table counts as one more item in it.
- BPR draws one negative per target for each batch, uniformly, anything but the target: its setting
  for sequential models is `repeatable`.
- The feed-forward part is four times as wide as the model by default. `--feed-forward` is the width,
  as with the other peers, unless told; `--feed-forward 256` is the default at width 64.
- It holds all rows in memory, with times as well as items, each at the full length.
- Its own ranking of all items (`full_sort_topk`) asks only about rows that were held back for a test,
  and leaves seen items in for sequential models. Here, as its users do, the model's
  `full_sort_predict` is asked with whole histories, in batches of 4,096 (its `eval_batch_size`), and
  scores of padding and of seen items are set to -inf before the best ten are taken, as
  `full_sort_scores` does for other models.
- It wants results that can be had again (`reproducibility`), and tells torch so.
- It needs NumPy below 2 (`np.float_`) and pandas below 3.
"""

import contextlib
import itertools
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import protocol
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_logger, init_seed

PACKAGES = ["recbole", "torch", "numpy", "pandas", "scipy"]
LOSSES = {"softmax": "CE", "BPR": "BPR"}
NAME = "log"


class Spent(Exception):
    """Training has had the seconds that it was given."""


class TimedTrainer(Trainer):
    """RecBole's trainer with a stopwatch."""

    def __init__(self, config: Config, model: SASRec, outcome: protocol.Outcome) -> None:
        super().__init__(config, model)
        self.outcome = outcome

    def _train_epoch(self, train_data: Any, *given: Any, **named: Any) -> Any:
        batches = itertools.islice(train_data, self.outcome.batches)
        started = time.perf_counter()
        loss = super()._train_epoch(batches, *given, **named)
        if self.outcome.ended(time.perf_counter() - started, self.model.state_dict):
            raise Spent
        return loss

    def fit(self, *given: Any, **named: Any) -> None:
        """Train as RecBole does, which knows no end but the number of epochs."""
        with contextlib.suppress(Spent):
            super().fit(*given, **named)


def settings_of(asked: Any, folder: Path) -> dict[str, Any]:
    """Say to RecBole what is asked; everything else is its default."""
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        # nothing is held back: the log was cut before
        "eval_args": {
            "split": {"RS": [1.0, 0.0, 0.0]},
            "order": "TO",
            "group_by": "user",
            "mode": "full",
        },
        "MAX_ITEM_LIST_LENGTH": asked.length,
        "hidden_size": asked.width,
        "inner_size": asked.feed_forward or asked.width,
        "n_layers": asked.layers,
        "n_heads": asked.heads,
        "hidden_dropout_prob": asked.dropout,
        "attn_dropout_prob": asked.dropout,
        "learning_rate": asked.learning_rate,
        "loss_type": LOSSES[asked.loss],
        "train_batch_size": asked.batch_size,
        "epochs": asked.epochs,
        "seed": asked.seed,
        "use_gpu": False,
        "show_progress": False,
        "state": "WARNING",
    }
    if asked.loss == "softmax":
        settings["train_neg_sample_args"] = None
    return settings


def histories_of(log: pd.DataFrame, dataset: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Give users and, for each, their items in RecBole's own numbers, oldest first."""
    numbers = dataset.token2id(dataset.iid_field, log["item"].astype(str).to_numpy())
    users, starts = np.unique(log["user"], return_index=True)
    return users, np.split(numbers, starts[1:])


def best_of(model: SASRec, histories: list[np.ndarray], length: int, k: int) -> torch.Tensor:
    """Numbers of the `k` best items that are not in the histories; -1 where there are fewer."""
    rows = [torch.as_tensor(history[-length:]) for history in histories]
    lasts = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    padded = torch.nn.functional.pad(lasts, (0, length - lasts.shape[1]))
    asked = Interaction(
        {
            model.ITEM_SEQ: padded,
            model.ITEM_SEQ_LEN: torch.tensor([len(row) for row in rows]),
        }
    )
    scores = model.full_sort_predict(asked).view(len(rows), -1)
    scores[:, 0] = -torch.inf
    places = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    scores[torch.as_tensor(places), torch.as_tensor(np.concatenate(histories))] = -torch.inf
    best, items = torch.topk(scores, min(k, scores.shape[1]))
    return items.masked_fill(best == -torch.inf, -1)


def main() -> None:
    """Train once, list, write, print."""
    parser = protocol.parser(
        "RecBole", list(LOSSES), batch_size=2048, dropout=0.5, learning_rate=0.001
    )
    parser.add_argument("--feed-forward", type=int, default=0, help="0: as wide as the model")
    asked = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole would read settings from there, too
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(asked.threads)
    to = asked.lists.resolve()

    log = protocol.read(asked.training)
    targets = int((log.groupby("user").size() - 1).sum())
    outcome = protocol.Outcome(
        "RecBole",
        PACKAGES,
        log,
        protocol.settings_of(asked),
        targets=targets,
        rows=targets,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)  # it writes logs to where it runs
        (folder / NAME).mkdir()
        columns = {
            "user": "user_id:token",
            "item": "item_id:token",
            "position": "timestamp:float",
        }
        log.rename(columns=columns).to_csv(folder / NAME / f"{NAME}.inter", sep="\t", index=False)
        config = Config(model="SASRec", dataset=NAME, config_dict=settings_of(asked, folder))
        init_seed(config["seed"], config["reproducibility"])
        init_logger(config)
        dataset = create_dataset(config)
        train_data, _, _ = data_preparation(config, dataset)
        init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
        model = SASRec(config, train_data.dataset).to(config["device"])
        trainer = TimedTrainer(config, model, outcome)
        outcome.fit(lambda: trainer.fit(train_data, saved=False))

        @torch.no_grad()
        def listed() -> pd.DataFrame:
            model.eval()
            users, histories = histories_of(log, dataset)
            at_once = config["eval_batch_size"]
            numbers = torch.cat(
                [
                    best_of(
                        model, histories[first : first + at_once], asked.length, protocol.LISTED
                    )
                    for first in range(0, len(users), at_once)
                ]
            ).numpy()
            lists = protocol.table(users, numbers)
            lists = lists[lists["item"] >= 0]
            items = dataset.id2token(dataset.iid_field, lists["item"].to_numpy())
            return lists.assign(item=items.astype(np.int64))

        outcome.make_lists(model.load_state_dict, listed)
        outcome.write(to)


if __name__ == "__main__":
    main()
