from dataclasses import replace

import numpy as np

from slmrec.data.sequences import Sequences
from slmrec.evaluation.segments import segment_users


def members(sequences: Sequences) -> dict[str, list[int]]:
    users, positions = sequences.targets("test")
    return {
        f"{one.kind}: {one.name}": users[one.members].tolist()
        for one in segment_users(sequences, users, positions)
    }


def test_users_fall_into_thirds_by_what_is_known_of_them(leave_one_out) -> None:
    # Histories before the target have 2, 2, 3, 4, 5, 6 items.
    histories = [[1] * 3, [1] * 3, [1] * 4, [1] * 5, [1] * 6, [1] * 7]
    found = members(leave_one_out(histories, 3))
    assert found["history: light"] == [0, 1]
    assert found["history: medium"] == [2, 3]
    assert found["history: heavy"] == [4, 5]


def test_equal_histories_stay_together(leave_one_out) -> None:
    found = members(leave_one_out([[1] * 4] * 5, 3))
    assert found["history: light"] == [0, 1, 2, 3, 4]
    assert "history: heavy" not in found


def test_who_has_no_training_interaction_is_new() -> None:
    sequences = Sequences(
        offsets=np.array([0, 3, 6]),
        items=np.array([1, 2, 1, 2, 1, 2], dtype=np.int32),
        timestamps=np.arange(6),
        train_end=np.array([1, 3]),
        validation_end=np.array([2, 5]),
        item_count=2,
    )
    assert members(sequences)["history: new"] == [1]


def test_targets_fall_into_thirds_of_the_interactions(leave_one_out) -> None:
    # Training: item 1 six times, 2 three times, 3 twice, 4 once; targets are 1, 2, 3, 4 and 5.
    histories = [
        [1, 1, 1, 1, 1, 1, 9, 1],
        [2, 2, 2, 9, 2],
        [3, 3, 9, 3],
        [4, 9, 4],
        [9, 5],
    ]
    found = members(leave_one_out(histories, 9))
    # before 1 lie none of 12, before 2 six, before 3 nine, before 4 eleven
    assert found["target: head"] == [0]
    assert found["target: middle"] == [1]
    assert found["target: tail"] == [2, 3]
    assert found["target: cold"] == [4]


def test_targets_fall_into_quarters_of_time(leave_one_out) -> None:
    found = members(leave_one_out([[1, 1, 1]] * 8, 3))  # times grow from user to user
    assert found["time: quarter 1"] == [0, 1]
    assert found["time: quarter 4"] == [6, 7]


def test_there_are_no_quarters_where_times_are_positions(leave_one_out) -> None:
    found = members(replace(leave_one_out([[1, 1, 1]] * 8, 3), order_only=True))
    assert [name for name in found if name.startswith("time")] == []


def test_equal_times_are_one_quarter() -> None:
    # Of eight targets five are of one day.
    days = [1, 2, 2, 2, 2, 2, 3, 4]
    sequences = Sequences(
        offsets=np.arange(0, 25, 3),
        items=np.ones(24, dtype=np.int32),
        timestamps=np.repeat(days, 3),
        train_end=np.arange(1, 25, 3),
        validation_end=np.arange(2, 26, 3),
        item_count=1,
    )
    found = {name: one for name, one in members(sequences).items() if name.startswith("time")}
    assert sorted(user for one in found.values() for user in one) == list(range(8))
    day_two = [name for name, one in found.items() if set(one) & {1, 2, 3, 4, 5}]
    assert len(day_two) == 1


def test_every_user_is_in_one_segment_of_a_kind_but_for_new_ones(leave_one_out) -> None:
    generator = np.random.default_rng(0)
    histories = [
        generator.integers(1, 40, size=n).tolist() for n in generator.integers(3, 20, size=120)
    ]
    sequences = leave_one_out(histories, 40)
    users, positions = sequences.targets("test")
    found = segment_users(sequences, users, positions)
    for kind in ("history", "target", "time"):
        times = sum(
            one.members.astype(int) for one in found if one.kind == kind and one.name != "new"
        )
        assert (times == 1).all()
