"""Our metrics beside those of RecTools, which ran in an environment of its own: `make test-peers`."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slmrec.data.sequences import Sequences
from slmrec.evaluation.lists import Touched, list_figures
from slmrec.evaluation.metrics import per_user
from slmrec.evaluation.ranking import Ranking, rank_users

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("SLMREC_RECTOOLS", ROOT / ".venv-rectools" / "bin" / "python"))
SCRIPT = Path(__file__).parent / "peers" / "rectools_metrics.py"
CUTOFFS = (1, 5, 10, 20)
USERS = 150
SAME = 1e-9

pytestmark = pytest.mark.peers


@dataclass
class Judged:
    """The same scores, judged on both sides."""

    ranking: Ranking
    other: Ranking
    touched: Touched
    interactions: int
    theirs: dict[str, Any]


class Prepared:
    """Scores that were made beforehand, handed out in the order of the users."""

    name = "prepared"

    def __init__(self, scores: np.ndarray) -> None:
        self.rows = scores.astype(np.float32)
        self.asked = 0

    def scores(self, histories: list[np.ndarray]) -> np.ndarray:
        first, self.asked = self.asked, self.asked + len(histories)
        return self.rows[first : self.asked].copy()


def random_sequences(generator: np.random.Generator, items: int) -> Sequences:
    """Histories of 1 to `items` − 1 items and a target; some repeat, some have nothing to train on."""
    lengths = generator.integers(2, items + 1, USERS)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(
        offsets=offsets,
        items=generator.integers(1, items + 1, offsets[-1]).astype(np.int32),
        timestamps=np.arange(offsets[-1]),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=items,
    )


@pytest.fixture(
    scope="module",
    params=[(60, 3), (60, 10**6), (12, 2), (300, 40)],
    ids=["many ties", "no ties", "short lists", "some ties"],
)
def judged(request: pytest.FixtureRequest) -> Judged:
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON}: no such file; 'make test-peers' makes the environment of RecTools")
    items, values = request.param
    generator = np.random.default_rng(items + values)
    sequences = random_sequences(generator, items)
    scores, other = generator.integers(0, values, (2, USERS, items + 1)).astype(float)
    users, positions = sequences.targets("test")
    assert len(users) == USERS
    train = [
        (user, int(item))
        for user in range(USERS)
        for item in sequences.items[sequences.offsets[user] : sequences.train_end[user]]
    ]
    asked = {
        "scores": scores.tolist(),
        "other_scores": other.tolist(),
        "train": train,
        "seen": [
            sequences.items[sequences.offsets[user] : position].tolist()
            for user, position in zip(users, positions, strict=True)
        ],
        "targets": sequences.items[positions].tolist(),
        "cutoffs": CUTOFFS,
    }
    done = subprocess.run(
        [str(PYTHON), str(SCRIPT)],
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    ranking, other_ranking = (
        rank_users(Prepared(one), sequences, users, positions, exclude_seen=True)
        for one in (scores, other)
    )
    theirs = json.loads(done.stdout)
    return Judged(ranking, other_ranking, Touched(sequences), len(train), theirs)


def test_hits_gains_and_reciprocal_ranks_are_those_of_rectools_when_lists_are_random(judged):
    # RecTools' NDCG has our rule where it divides by what can be achieved with one relevant item, and
    # its MRR is uncut where the cutoff is the whole catalogue.
    ours = per_user(judged.ranking.ranks, CUTOFFS)
    ours |= {f"recall@{k}": ours[f"hr@{k}"] for k in CUTOFFS}  # there is one target a user
    assert ours.keys() == judged.theirs["per_user"].keys()
    for name, values in judged.theirs["per_user"].items():
        assert ours[name] == pytest.approx(values, abs=SAME), name


def test_coverage_and_novelty_are_those_of_rectools_when_lists_are_random(judged):
    # The rules agree: an item that nobody touched counts as touched by one, empty lists do not count.
    ours = list_figures(judged.ranking.lists, judged.touched)
    assert ours["coverage"] == pytest.approx(judged.theirs["coverage"], abs=SAME)
    assert ours["novelty"] == pytest.approx(judged.theirs["novelty"], abs=SAME)


def test_popularity_of_exposure_follows_from_that_of_rectools_when_lists_are_random(judged):
    # RecTools averages how often items were touched, we the share of interactions with less touched
    # items and half of those as touched. It was told that each item was touched twice that share times
    # the number of interactions.
    ours = list_figures(judged.ranking.lists, judged.touched)["exposure_popularity"]
    theirs = judged.theirs["doubled_popularity_rank"] / (2 * judged.interactions)
    assert ours == pytest.approx(theirs, abs=SAME)


def test_diversity_is_that_of_rectools_when_lists_of_one_item_are_left_out(judged):
    # A list of one item has no pair: for RecTools its diversity is 0, with us it does not count.
    ours = list_figures(judged.ranking.lists, judged.touched)["diversity"]
    assert ours == pytest.approx(judged.theirs["diversity_of_pairs"], abs=SAME)


def test_overlap_is_the_intersection_of_rectools_when_empty_lists_count_as_alike(judged):
    shares = judged.theirs["overlap_by_user"]
    empty = USERS - len(shares)
    assert empty == np.count_nonzero((judged.other.lists == 0).all(axis=1))
    ours = judged.ranking.overlap(judged.other)
    assert ours == pytest.approx((sum(shares) + empty) / USERS, abs=SAME)
