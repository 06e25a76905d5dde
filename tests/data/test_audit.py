from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from slmrec.config import BuildSequences
from slmrec.data.audit import audit
from slmrec.data.sequences import Sequences

SETTINGS = BuildSequences(min_user_interactions=2, min_item_interactions=1)
# Two users: items 1 2 3 at 10 20 30, items 2 3 at 15 25; the cuts are at 20 and 25.
GOOD = Sequences(
    offsets=np.array([0, 3, 5]),
    items=np.array([1, 2, 3, 2, 3], np.int32),
    timestamps=np.array([10, 20, 30, 15, 25]),
    train_end=np.array([1, 4]),
    validation_end=np.array([2, 4]),
    item_count=3,
)
ITEMS = pl.DataFrame({"item_index": [1, 2, 3], "item_id": ["x", "y", "z"]})
USERS = pl.DataFrame({"user_index": [0, 1], "user_id": ["a", "b"]})


def broken(sequences=GOOD, settings=SETTINGS, items=ITEMS, users=USERS):
    return {
        check.expectation: check
        for check in audit(sequences, settings, items, users)
        if not check.success
    }


def test_nothing_fails_when_sequences_keep_their_promises():
    assert broken() == {}


@pytest.mark.parametrize(
    ("changes", "word", "count"),
    [
        ({"timestamps": np.array([10, 9, 30, 15, 25])}, "backwards", 1),
        (
            {"train_end": np.array([1, 5]), "validation_end": np.array([2, 5])},
            "earlier than anything in validation",
            1,
        ),
        ({"validation_end": np.array([3, 4])}, "earlier than anything in test", 1),
        ({"train_end": np.array([3, 4])}, "one piece", 1),
        ({"items": np.array([1, 2, 3, 2, 4], np.int32)}, "in the item table", 1),
        ({"items": np.array([0, 2, 3, 2, 3], np.int32)}, "in the item table", 1),
        ({"items": np.array([2, 2, 3, 2, 3], np.int32)}, "every item has 1", 1),
        ({"offsets": np.array([0, 4, 5]), "train_end": np.array([1, 4])}, "every history has 2", 1),
    ],
)
def test_the_fault_is_named_when_one_is_planted(changes, word, count):
    found = broken(replace(GOOD, **changes))
    (check,) = [check for expectation, check in found.items() if word in expectation]
    assert check.unexpected == count


@pytest.mark.parametrize(
    "tables",
    [
        {"items": ITEMS.with_columns(pl.Series("item_id", ["x", "x", "z"]))},
        {"items": ITEMS.with_columns(pl.Series("item_index", [0, 1, 2]))},
        {"users": USERS.with_columns(pl.Series("user_id", ["a", None]))},
        {"users": USERS.with_columns(pl.Series("user_index", [1, 0]))},
    ],
)
def test_the_map_is_refused_when_it_is_no_bijection(tables):
    (expectation,) = broken(**tables)
    assert expectation.endswith("ids and indices are one to one")


def test_a_user_may_come_again_when_histories_are_sessions():
    users = USERS.with_columns(pl.Series("user_id", ["a", "a"]), pl.Series("session", [1, 2]))
    assert broken(users=users) == {}
    assert len(broken(users=users.with_columns(session=1))) == 1


def test_the_last_two_are_held_out_when_one_is_left_out():
    settings = SETTINGS.model_copy(update={"split": "leave_one_out"})
    held_out = replace(GOOD, train_end=np.array([1, 5]), validation_end=np.array([2, 5]))
    assert broken(held_out, settings) == {}
    (expectation,) = broken(GOOD, settings)
    assert "last two" in expectation
