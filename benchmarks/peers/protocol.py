"""What the drivers of the peers share: what they are asked, what they write, what they print.

A driver runs inside its peer's environment, where slmrec is not installed: this module needs nothing
but NumPy, pandas and PyArrow. It is called as

    python benchmarks/peers/<peer>_sasrec.py TRAINING --lists FILE --epochs N --loss LOSS …

TRAINING is a Parquet file of `user`, `item`, `position` (int64): what a model may learn from, with
nothing in it of validation or test. `position` is the order within a user. The model learns without a
look at validation. After every `--score-every` epochs and after the last its weights are kept, and
when it has learnt, each of these makes ten items for every user of the file, out of all items of the
file but those that the user has in it. `--seconds` ends the training with the epoch in which it has
taken so long; `--part .25` makes an epoch of a quarter of its batches. The lists go to `--lists`, as
Parquet: `epoch`, `user`, `rank` (from 1), `item`. The last line printed is one JSON object,
`Outcome.as_json` says what is in it.
"""

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LISTED = 10


def parser(peer: str, losses: list[str], **defaults: float) -> argparse.ArgumentParser:
    """Give the arguments that all drivers take; `defaults` are those of the peer itself.

    `defaults` has `batch_size`, `dropout`, `learning_rate` and, where a loss draws them, `negatives`.
    The first of `losses` is the softmax over the whole catalogue.
    """
    asked = argparse.ArgumentParser(
        description=f"Train the SASRec of {peer}, then list {LISTED} items for every user.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    asked.add_argument("training", type=Path, help="Parquet: user, item, position")
    asked.add_argument("--lists", type=Path, required=True, help="Parquet that the lists go to")
    asked.add_argument("--epochs", type=int, required=True, help="at most")
    asked.add_argument("--seconds", type=float, default=0.0, help="of training; 0: no end")
    asked.add_argument("--part", type=float, default=1.0, help="of the batches of every epoch")
    asked.add_argument("--score-every", type=int, default=0, help="epochs; 0: only after the last")
    asked.add_argument("--loss", choices=losses, default=losses[0])
    asked.add_argument("--batch-size", type=int, default=defaults["batch_size"])
    asked.add_argument("--length", type=int, default=50, help="items of a user that are looked at")
    asked.add_argument("--width", type=int, default=64)
    asked.add_argument("--layers", type=int, default=2)
    asked.add_argument("--heads", type=int, default=2)
    asked.add_argument("--dropout", type=float, default=defaults["dropout"])
    asked.add_argument("--learning-rate", type=float, default=defaults["learning_rate"])
    if "negatives" in defaults:
        asked.add_argument("--negatives", type=int, default=defaults["negatives"])
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--seed", type=int, default=0)
    return asked


def read(path: Path) -> pd.DataFrame:
    """Read the training interactions, each user's in order."""
    log = pd.read_parquet(path, columns=["user", "item", "position"])
    return log.sort_values(["user", "position"], kind="stable", ignore_index=True)


def targets_of(log: pd.DataFrame, length: int) -> int:
    """Count the next items to learn where a user's last `length` + 1 items are one sequence."""
    sizes = log.groupby("user").size().to_numpy()
    return int(np.minimum(sizes - 1, length).sum())


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB.

    What `getrusage` says begins with the size of whoever started the process.
    """
    status = Path("/proc/self/status").read_text()
    return next(
        int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")
    )


@dataclass
class Outcome:
    """What a driver found."""

    peer: str
    packages: list[str]
    """Distributions whose versions matter; the peer's own comes first."""
    log: pd.DataFrame
    settings: dict[str, Any]
    targets: int
    """Next items that one whole epoch learns."""
    rows: int
    """That one whole epoch passes through the model."""
    epoch_seconds: list[float] = field(default_factory=list)
    kept: dict[int, Any] = field(default_factory=dict)
    """Weights after an epoch, counted from 1."""
    scored: list[dict[str, float]] = field(default_factory=list)
    tables: list[pd.DataFrame] = field(default_factory=list)
    fit_seconds: float = 0.0
    training_peak_mb: float = 0.0

    @property
    def batches(self) -> int:
        """To be trained in an epoch: as many as `--part` asks for, one at least."""
        return max(
            1, round(self.settings["part"] * math.ceil(self.rows / self.settings["batch_size"]))
        )

    @property
    def share_of_epoch(self) -> float:
        """That these batches are, by their rows."""
        return min(1.0, self.batches * self.settings["batch_size"] / self.rows)

    def ended(self, seconds: float, weights: Callable[[], dict[str, Any]]) -> bool:
        """Note what an epoch took; keep its weights where lists are made after it; whether to stop."""
        self.epoch_seconds.append(seconds)
        epoch, every = len(self.epoch_seconds), self.settings["score_every"]
        spent = 0 < self.settings["seconds"] <= sum(self.epoch_seconds)
        last = spent or epoch == self.settings["epochs"]
        if last or (every and epoch % every == 0):
            self.kept[epoch] = {name: value.detach().clone() for name, value in weights().items()}
        return last

    def fit(self, train: Callable[[], None]) -> None:
        """Let the peer train."""
        started = time.perf_counter()
        train()
        self.fit_seconds = time.perf_counter() - started
        self.training_peak_mb = peak_mb()

    def make_lists(self, load: Callable[[Any], None], listed: Callable[[], pd.DataFrame]) -> None:
        """Make lists (columns `user`, `rank`, `item`) from all weights that were kept."""
        for epoch, weights in self.kept.items():
            load(weights)
            started = time.perf_counter()
            lists = listed()
            seconds = time.perf_counter() - started
            users = int(lists["user"].nunique())
            self.scored.append(
                {
                    "epoch": epoch,
                    "training_seconds": sum(self.epoch_seconds[:epoch]),
                    "list_seconds": seconds,
                    "users": users,
                    "users_per_second": users / seconds,
                }
            )
            self.tables.append(lists.assign(epoch=epoch))

    def write(self, path: Path) -> None:
        """Write the lists, print the rest."""
        lists = pd.concat(self.tables, ignore_index=True)[["epoch", "user", "rank", "item"]]
        lists.astype(np.int64).to_parquet(path, index=False)
        sys.stderr.flush()
        print(f"\n{self.as_json()}", flush=True)

    def as_json(self) -> str:
        """The one line: names below are the protocol.

        `epoch_seconds` is wall clock of training alone, the first with whatever warms up, and of
        `share_of_epoch` of an epoch; `targets_per_epoch` are those of a whole one. A fit is more
        than its epochs: `outside_epochs_seconds` is what it took beside them. In `scored`,
        `training_seconds` is the sum of the epochs up to there and `list_seconds` the time from weights
        and histories to lists. `peak_rss_mb` is of the whole process, `training_peak_rss_mb` up to the
        end of training.
        """
        return json.dumps(
            {
                "peer": self.peer,
                "versions": {"python": platform.python_version()}
                | {name: version(name) for name in self.packages},
                "settings": self.settings,
                "users": int(self.log["user"].nunique()),
                "items": int(self.log["item"].nunique()),
                "interactions": len(self.log),
                "targets_per_epoch": self.targets,
                "share_of_epoch": self.share_of_epoch,
                "epoch_seconds": self.epoch_seconds,
                "outside_epochs_seconds": self.fit_seconds - sum(self.epoch_seconds),
                "scored": self.scored,
                "training_peak_rss_mb": self.training_peak_mb,
                "peak_rss_mb": peak_mb(),
            }
        )


def settings_of(arguments: argparse.Namespace, **others: Any) -> dict[str, Any]:
    """Settings as used: arguments that are not files, and whatever else the peer was told."""
    return {
        name: value for name, value in vars(arguments).items() if not isinstance(value, Path)
    } | others


def table(users: np.ndarray, items: np.ndarray) -> pd.DataFrame:
    """Turn rows of items, best first, into columns `user`, `rank`, `item`."""
    rows, wide = items.shape
    return pd.DataFrame(
        {
            "user": np.repeat(users, wide),
            "rank": np.tile(np.arange(1, wide + 1), rows),
            "item": items.ravel(),
        }
    )
