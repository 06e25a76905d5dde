"""The drivers of `benchmarks/peers`, each in its peer's environment: `make peers test-peers`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
USERS, ITEMS, LISTED, LENGTH = 60, 30, 10, 8
FIRST_USER, FIRST_ITEM = 100, 1000
SMALL = ["--length", str(LENGTH), "--width", "32", "--layers", "1", "--threads", "1"]
LOSSES = {
    "rectools": ["softmax", "BCE", "gBCE", "sampled_softmax"],
    "recbole": ["softmax", "BPR"],
    "replay": [
        "softmax",
        "BCE",
        "LogInCE",
        "LogOutCE",
        "BCESampled",
        "CESampled",
        "LogInCESampled",
        "GroupedCESampled",
    ],
}
OWN = {  # what only one peer has
    "rectools": ["--blocks", "ligr"],
    "recbole": ["--feed-forward", "128"],
    "replay": ["--trim", "--bucket-size", "4"],
}
PACKAGE = {"rectools": "rectools", "recbole": "recbole", "replay": "replay-rec"}

pytestmark = pytest.mark.peers


def length_of(user: int) -> int:
    """Four have one item, from which nothing is learnt; many have more than are looked at."""
    return 1 + user % 15


def item_at(user: int, position: int) -> int:
    """Whoever starts where: every item is followed by the next, the last by the first."""
    return FIRST_ITEM + (7 * user + position) % ITEMS


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        (FIRST_USER + user, item_at(user, position), position)
        for user in range(USERS)
        for position in reversed(range(length_of(user)))  # rows are in no order
    ]
    path = tmp_path_factory.mktemp("log") / "training.parquet"
    pl.DataFrame(rows, schema=["user", "item", "position"], orient="row").write_parquet(path)
    return path


def driven(
    peer: str, training: Path, folder: Path, *asked: str
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Run a driver; give what it printed last and its lists."""
    python = Path(
        os.environ.get(f"SLMREC_{peer.upper()}", ROOT / f".venv-{peer}" / "bin" / "python")
    )
    if not python.exists():
        pytest.skip(f"{python}: no such file; 'make peers' makes the environments of the peers")
    lists = folder / "lists.parquet"
    command = [python, ROOT / "benchmarks" / "peers" / f"{peer}_sasrec.py", training]
    done = subprocess.run(
        [*map(str, command), "--lists", str(lists), *SMALL, *asked],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), pl.read_parquet(lists)


def check_lists(lists: pl.DataFrame, epochs: list[int]) -> None:
    """Ten different items in each list, ranked from 1, none that the user has."""
    assert lists.columns == ["epoch", "user", "rank", "item"]
    assert len(lists) == len(epochs) * USERS * LISTED
    listed = {
        (epoch, user): part.sort("rank")
        for (epoch, user), part in lists.group_by(["epoch", "user"])
    }
    assert {epoch for epoch, _ in listed} == set(epochs)
    assert {user for _, user in listed} == set(range(FIRST_USER, FIRST_USER + USERS))
    for (_, user), part in listed.items():
        assert part["rank"].to_list() == list(range(1, LISTED + 1))
        items = set(part["item"])
        assert len(items) == LISTED
        assert items <= set(range(FIRST_ITEM, FIRST_ITEM + ITEMS))
        number = user - FIRST_USER
        assert not items & {item_at(number, position) for position in range(length_of(number))}


def check_json(found: dict[str, Any], peer: str, epochs: int, scored: list[int]) -> None:
    """What the protocol names is there, and counts are those of the log."""
    lengths = [length_of(user) for user in range(USERS)]
    assert found["peer"].lower() == peer
    assert {"python", "torch", "numpy", PACKAGE[peer]} <= set(found["versions"])
    assert (found["users"], found["items"]) == (USERS, ITEMS)
    assert found["interactions"] == sum(lengths)
    # RecBole makes a row of every beginning, the others learn from a user's last items alone
    longest = max(lengths) if peer == "recbole" else LENGTH
    assert found["targets_per_epoch"] == sum(min(length - 1, longest) for length in lengths)
    assert len(found["epoch_seconds"]) == epochs
    assert min(found["epoch_seconds"]) > 0
    assert found["outside_epochs_seconds"] > 0
    assert found["peak_rss_mb"] >= found["training_peak_rss_mb"] > 100
    settings = {
        "epochs": epochs,
        "width": 32,
        "layers": 1,
        "threads": 1,
        "heads": 2,
        "length": LENGTH,
    }
    assert settings.items() <= found["settings"].items()
    assert [one["epoch"] for one in found["scored"]] == scored
    for one in found["scored"]:
        learnt = sum(found["epoch_seconds"][: one["epoch"]])
        assert one["training_seconds"] == pytest.approx(learnt)
        assert one["users_per_second"] == pytest.approx(USERS / one["list_seconds"])


@pytest.mark.parametrize("peer", LOSSES)
def test_the_next_item_leads_most_lists_when_a_peer_has_learnt_the_rule(
    peer: str, training: Path, tmp_path: Path
) -> None:
    asked = ["--epochs", "20", "--score-every", "8", "--learning-rate", "0.01"]
    found, lists = driven(peer, training, tmp_path, *asked, "--batch-size", "16")

    check_json(found, peer, 20, [8, 16, 20])
    check_lists(lists, [8, 16, 20])
    first = lists.filter((pl.col("epoch") == 20) & (pl.col("rank") == 1))
    right = [
        item == item_at(user - FIRST_USER, length_of(user - FIRST_USER))
        for user, item in first.select("user", "item").iter_rows()
    ]
    # 15 to 29 items are new to a user: chance finds the right one for some 3 of 60
    assert sum(right) > 48


@pytest.mark.parametrize(
    ("peer", "loss"),
    [(peer, loss) for peer, losses in LOSSES.items() for loss in losses if loss != "softmax"],
)
def test_lists_have_ten_new_items_when_a_peer_learns_by_another_loss(
    peer: str, loss: str, training: Path, tmp_path: Path
) -> None:
    negatives = [] if peer == "recbole" else ["--negatives", "10"]
    asked = ["--epochs", "2", "--score-every", "1", "--loss", loss, "--seed", "3"]
    found, lists = driven(peer, training, tmp_path, *asked, *negatives)

    check_json(found, peer, 2, [1, 2])
    check_lists(lists, [1, 2])
    assert found["settings"]["loss"] == loss
    assert found["settings"]["seed"] == 3


@pytest.mark.parametrize("peer", OWN)
def test_lists_have_ten_new_items_when_a_peer_is_told_what_only_it_knows(
    peer: str, training: Path, tmp_path: Path
) -> None:
    found, lists = driven(peer, training, tmp_path, "--epochs", "1", *OWN[peer])

    check_json(found, peer, 1, [1])
    check_lists(lists, [1])


@pytest.mark.parametrize("peer", LOSSES)
def test_a_peer_ends_with_its_seconds_and_lists_what_it_has_learnt(
    training: Path, tmp_path: Path, peer: str
) -> None:
    found, lists = driven(peer, training, tmp_path, "--epochs", "50", "--seconds", "0.001")

    assert len(found["epoch_seconds"]) == 1
    assert lists["epoch"].unique().to_list() == [1]
    assert found["scored"][0]["users"] == USERS


@pytest.mark.parametrize("peer", LOSSES)
def test_a_peer_learns_something_else_when_an_epoch_is_a_part_of_its_batches(
    training: Path, tmp_path: Path, peer: str
) -> None:
    asked = ["--epochs", "3", "--learning-rate", "0.01", "--batch-size", "16", "--part", "0.1"]
    found, lists = driven(peer, training, tmp_path, *asked)

    rows = found["targets_per_epoch"] if peer == "recbole" else USERS
    batches = max(1, round(0.1 * -(-rows // 16)))
    assert found["share_of_epoch"] == pytest.approx(batches * 16 / rows)
    first = lists.filter(pl.col("rank") == 1).sort("user")["item"].to_list()
    whole = driven(peer, training, tmp_path, *asked[:-2])[1]
    assert first != whole.filter(pl.col("rank") == 1).sort("user")["item"].to_list()


@pytest.mark.parametrize("peer", PACKAGE)
def test_the_way_from_a_log_to_what_is_trained_on_is_timed(tmp_path: Path, peer: str) -> None:
    python = ROOT / f".venv-{peer}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python}: no such file; 'make peers' makes the environments of the peers")
    rows = [
        (f"u{user}", f"i{item_at(user, position)}", 86_400 * position)
        for user in range(USERS)
        for position in range(length_of(user))
    ]
    log = tmp_path / "log.parquet"
    columns = ["user_id", "item_id", "timestamp"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(log)
    done = subprocess.run(
        [python, ROOT / "benchmarks" / "peers" / "loading.py", peer, log],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0 < found["seconds"] < 300
    assert found["peak_rss_mb"] > 50
    assert PACKAGE[peer] in found["versions"]
