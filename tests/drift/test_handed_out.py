import numpy as np
import polars as pl
import pytest

from slmrec.data.sequences import Sequences
from slmrec.drift.handed_out import compare_handed_out, read_handed_out
from slmrec.drift.serving import People
from slmrec.drift.serving_statistics import rank_biased_overlap
from slmrec.errors import DataError


@pytest.fixture
def sequences():
    log = Sequences(
        offsets=np.array([0, 2, 3, 4]),
        items=np.array([1, 4, 2, 3], dtype=np.int32),
        timestamps=np.arange(4),
        train_end=np.array([2, 3, 4]),
        validation_end=np.array([2, 3, 4]),
        item_count=20,
    )
    items = {"item_index": range(1, 21), "item_id": [f"i{n}" for n in range(1, 21)]}
    object.__setattr__(log, "item_table", pl.DataFrame(items))
    object.__setattr__(log, "user_table", pl.DataFrame({"user_id": ["ann", "bob", "cy"]}))
    return log


LISTED = np.array([[7, *[0] * 9], [*range(1, 6), *range(11, 16)]])
"""What ann and cy would be listed now."""


def people(users):
    nothing = np.zeros(0)
    return People(
        window=None,
        users=np.array(users),
        histories=(),
        states=np.zeros((len(users), 1), dtype=np.float32),
        lists=np.zeros((len(users), 10), dtype=np.int64),
        scores=np.zeros((len(users), 10), dtype=np.float32),
        before=None,
        gains=nothing,
        guesses=nothing,
        guessed=(nothing, nothing, nothing),
    )


def write(path, rows):
    users, items = zip(*rows, strict=True)
    columns = {"user_id": users, "items": items, "model_version": ["3"] * len(users)}
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_lists_are_compared_with_what_would_be_listed_now(sequences, tmp_path):
    given = read_handed_out(
        write(
            tmp_path / "lists.parquet",
            [
                ("cy", [f"i{n}" for n in range(1, 11)]),
                ("zoe", ["i1"]),
                ("ann", ["i5", "gone", "i7"]),
            ],
        ),
        sequences,
    )
    assert given.users.tolist() == [0, 2]
    assert given.lists[0].tolist() == [5, 0, 7, *[0] * 7]
    asked = []

    class Model:
        def best(self, histories, k, *, exclude_seen):
            asked.extend(history.tolist() for history in histories)
            return LISTED, None

    found = compare_handed_out(given, people([0, 1, 2]), Model(), sequences.history)
    assert asked == [[1, 4], [3]]  # all that is known of them, as when the lists were made
    # Of ann's two items that are still there one would be listed, of cy's ten five.
    assert found["overlap"] == pytest.approx((1 / 2 + 5 / 10) / 2)
    among = rank_biased_overlap(given.lists, LISTED)
    assert found["rank_overlap"] == pytest.approx(float(among.mean()), abs=1e-6)
    assert (found["people"], found["versions"]) == (2, ["3"])


def test_nobody_was_given_a_list_whom_the_window_has(sequences, tmp_path):
    given = read_handed_out(write(tmp_path / "lists.parquet", [("bob", ["i1"])]), sequences)
    assert compare_handed_out(given, people([0]), None, sequences.history) == {
        "people": 0,
        "versions": ["3"],
    }


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [("user_id", [1], "Int64"), ("items", ["i1 i2"], "String"), ("model_version", [3], "Int64")],
)
def test_a_column_of_another_kind_is_named(sequences, tmp_path, column, values, found):
    columns = {"user_id": ["ann"], "items": [["i1"]], "model_version": ["3"], column: values}
    pl.DataFrame(columns).write_parquet(tmp_path / "lists.parquet")
    with pytest.raises(
        DataError, match=rf"lists\.parquet: its column {column} is {found}, expected"
    ):
        read_handed_out(tmp_path / "lists.parquet", sequences)


@pytest.mark.parametrize("content", [b"x", None])
def test_a_file_that_holds_no_lists_is_named(sequences, tmp_path, content):
    path = tmp_path / "other.parquet"
    if content is None:
        pl.DataFrame({"user_id": ["ann"]}).write_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"other\.parquet: cannot be read as lists"):
        read_handed_out(path, sequences)
