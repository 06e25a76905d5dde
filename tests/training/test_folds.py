import dataclasses

import numpy as np
import polars as pl
import pytest

from slmrec.data.sequences import Sequences
from slmrec.training.folds import fold_of_users, without_fold


@pytest.fixture
def sequences() -> Sequences:
    users = 600
    offsets = np.arange(users + 1, dtype=np.int64) * 4
    return Sequences(
        offsets=offsets,
        items=np.tile(np.array([1, 2, 3, 4], np.int32), users),
        timestamps=np.tile(np.arange(4, dtype=np.int64), users),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=4,
    )


def test_folds_are_about_equally_large(sequences: Sequences) -> None:
    counts = np.bincount(fold_of_users(sequences, 3), minlength=3)
    assert counts.sum() == 600
    assert counts.min() > 150  # 200 expected, standard deviation 11.5


def test_a_user_stays_in_the_fold_when_others_come(monkeypatch, sequences: Sequences) -> None:
    def folds(ids: list[str]) -> dict[str, int]:
        named = dataclasses.replace(sequences, artifact=object())
        monkeypatch.setattr(Sequences, "user_table", pl.DataFrame({"user_id": ids}))
        return dict(zip(ids, fold_of_users(named, 4).tolist(), strict=True))

    before, after = folds(["b", "d", "e"]), folds(["a", "b", "c", "d", "e", "f"])
    assert before == {name: after[name] for name in before}


def test_a_fold_has_nothing_to_train_or_validate_on_when_left_out(sequences: Sequences) -> None:
    fold = fold_of_users(sequences, 3)
    rest = without_fold(sequences, 3, 1)
    trained = rest.train_end > rest.offsets[:-1]
    assert np.array_equal(trained, fold != 1)
    assert np.array_equal(rest.train_end[trained], sequences.train_end[trained])
    assert set(rest.targets("validation")[0].tolist()) == set(np.flatnonzero(fold != 1).tolist())
