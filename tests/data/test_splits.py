import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmrec.config import BuildSequences
from slmrec.data.splits import leave_one_out, positions_before, split_positions, time_cuts
from slmrec.errors import DataError


def test_the_cuts_fall_after_the_asked_share_when_times_are_distinct():
    # Ten moments: eight before validation (0 … 7), one in validation (8), one in test (9).
    assert time_cuts(np.arange(10), 0.1, 0.1) == (8, 9)
    assert time_cuts(np.arange(10)[::-1], 0.2, 0.3) == (5, 7)


def test_equal_times_stay_together_when_a_cut_falls_among_them():
    times = np.array([0, 1, 2, 3, 4, 5, 5, 5, 8, 9])
    validation, test = time_cuts(times, 0.3, 0.1)
    assert (validation, test) == (5, 9)


def test_the_split_is_refused_when_all_times_are_equal():
    with pytest.raises(DataError, match="leave_one_out"):
        time_cuts(np.full(10, 7), 0.1, 0.1)


def test_positions_point_at_the_cut_when_users_differ():
    # User 0: 1 2 | 5; user 1: | 6 7; user 2: 1 1 1 |
    offsets = np.array([0, 3, 5, 8])
    times = np.array([1, 2, 5, 6, 7, 1, 1, 1])
    assert positions_before(offsets, times, 5).tolist() == [2, 3, 8]


def test_two_are_held_out_when_a_user_has_three():
    offsets = np.array([0, 3, 5, 9, 10])
    train_end, validation_end = leave_one_out(offsets)
    assert train_end.tolist() == [1, 5, 7, 10]
    assert validation_end.tolist() == [2, 5, 8, 10]


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), min_size=2, max_size=8))
def test_nothing_after_the_cut_is_trained_when_the_split_is_in_time(histories):
    histories = [sorted(history) for history in histories]
    offsets = np.cumsum([0, *map(len, histories)])
    times = np.concatenate(histories)
    settings = BuildSequences(validation_share=0.25, test_share=0.25)
    try:
        train_end, validation_end, cuts = split_positions(offsets, times, settings)
    except DataError:
        return
    for user, history in enumerate(histories):
        split = [
            "train"
            if position < train_end[user]
            else "validation"
            if position < validation_end[user]
            else "test"
            for position in range(offsets[user], offsets[user + 1])
        ]
        expected = [
            "train"
            if time < cuts["validation_starts"]
            else "validation"
            if time < cuts["test_starts"]
            else "test"
            for time in history
        ]
        assert split == expected
