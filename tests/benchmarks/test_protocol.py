"""What the drivers of the peers share; nothing of a peer is needed for it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.peers import protocol

ASKED = ["training.parquet", "--lists", "lists.parquet", "--epochs", "5", "--score-every", "2"]
DEFAULTS = {"batch_size": 128, "dropout": 0.2, "learning_rate": 0.001}


def log_of(*lengths: int) -> pd.DataFrame:
    """User u has the items 1 … lengths[u]."""
    rows = [(user, 1 + at, at) for user, length in enumerate(lengths) for at in range(length)]
    return pd.DataFrame(rows, columns=["user", "item", "position"])


def outcome_of(log: pd.DataFrame) -> protocol.Outcome:
    asked = protocol.parser("Nobody", ["softmax"], **DEFAULTS).parse_args(ASKED)
    return protocol.Outcome("Nobody", ["numpy"], log, protocol.settings_of(asked, more=1), 7, 2)


def test_targets_are_those_of_the_last_items_when_histories_are_long() -> None:
    assert protocol.targets_of(log_of(1, 2, 5, 6, 7), length=5) == 0 + 1 + 4 + 5 + 5


def test_histories_are_in_order_when_rows_are_not(tmp_path: Path) -> None:
    log = log_of(3, 2)
    log.sample(frac=1, random_state=1).to_parquet(tmp_path / "log.parquet", index=False)

    pd.testing.assert_frame_equal(protocol.read(tmp_path / "log.parquet"), log)


def test_settings_are_all_but_files_when_a_peer_was_told_more() -> None:
    settings = outcome_of(log_of(2)).settings

    assert {"epochs": 5, "score_every": 2, "loss": "softmax", "more": 1}.items() <= settings.items()
    assert {"length": 50, "width": 64, "layers": 2, "heads": 2, "threads": 2}.items() <= (
        settings.items()
    )
    assert not {"training", "lists", "negatives"} & set(settings)


def test_lists_come_from_the_weights_of_their_epoch_when_training_went_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = outcome_of(log_of(3, 4))
    weights = {"best": torch.zeros(1)}

    def train() -> None:
        for epoch in range(1, 6):
            weights["best"] += 1
            outcome.ended(float(epoch), lambda: weights)

    loaded: list[float] = []
    outcome.fit(train)
    outcome.make_lists(
        lambda kept: loaded.append(kept["best"].item()),
        lambda: protocol.table(np.array([0, 1]), np.full((2, 1), loaded[-1])),
    )
    outcome.write(tmp_path / "lists.parquet")

    assert loaded == [2, 4, 5]
    lists = pd.read_parquet(tmp_path / "lists.parquet")
    assert lists.to_numpy().tolist() == [
        [epoch, user, 1, epoch] for epoch in (2, 4, 5) for user in (0, 1)
    ]
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["epoch_seconds"] == [1, 2, 3, 4, 5]
    assert [(one["epoch"], one["training_seconds"], one["users"]) for one in found["scored"]] == [
        (2, 3.0, 2),
        (4, 10.0, 2),
        (5, 15.0, 2),
    ]
    assert (found["users"], found["items"], found["interactions"]) == (2, 4, 7)
    assert found["targets_per_epoch"] == 7


def test_rows_of_items_become_ranks_when_there_are_several() -> None:
    table = protocol.table(np.array([8, 9]), np.array([[3, 1], [2, 4]]))

    assert table.to_numpy().tolist() == [[8, 1, 3], [8, 2, 1], [9, 1, 2], [9, 2, 4]]


@pytest.mark.parametrize(
    ("part", "batches", "share"),
    [("1", 3, 1.0), ("0.5", 2, 0.8), ("0.4", 1, 0.4), ("0.01", 1, 0.4)],
)
def test_a_part_of_an_epoch_is_so_many_of_its_batches(
    part: str, batches: int, share: float
) -> None:
    asked = protocol.parser("Nobody", ["softmax"], **DEFAULTS).parse_args(
        [*ASKED, "--part", part, "--batch-size", "4"]
    )
    outcome = protocol.Outcome("Nobody", [], log_of(2), protocol.settings_of(asked), 1, rows=10)

    assert (outcome.batches, outcome.share_of_epoch) == (batches, share)


@pytest.mark.parametrize(("seconds", "epochs"), [("3", 2), ("3.5", 3), ("0", 5)])
def test_training_ends_with_the_epoch_that_spends_its_seconds(seconds: str, epochs: int) -> None:
    asked = protocol.parser("Nobody", ["softmax"], **DEFAULTS).parse_args(
        [*ASKED, "--score-every", "0", "--seconds", seconds]
    )
    outcome = protocol.Outcome("Nobody", [], log_of(2), protocol.settings_of(asked), 1, 1)
    weights = {"best": torch.zeros(1)}

    ended = [outcome.ended(float(epoch), lambda: weights) for epoch in range(1, epochs + 1)]

    assert ended == [False] * (epochs - 1) + [True]
    assert list(outcome.kept) == [epochs]
