import numpy as np

from slmrec.drift.windows import timeline, window_until


def test_timeline_is_in_time_order_when_users_interleave(make_sequences_from_events):
    log = timeline(make_sequences_from_events([(0, 10, 1), (0, 30, 2), (1, 20, 3)], 3), seed=0)
    assert log.timestamps.tolist() == [10, 20, 30]
    assert log.users.tolist() == [0, 1, 0]
    assert log.items.tolist() == [1, 3, 2]
    assert [log.before(moment) for moment in (9, 10, 25, 99)] == [0, 1, 2, 3]


def test_a_boundary_parts_users_by_lot_when_times_are_equal(make_sequences_from_events):
    events = [(user, 5, item) for user in range(40) for item in (1, 2)]
    log = timeline(make_sequences_from_events(events, 2), seed=0)
    first_half = np.unique(log.users[:40])
    assert len(first_half) == 20  # a user's interactions stay together
    assert first_half.tolist() != list(range(20))


def test_new_means_absent_from_the_window_before_when_the_log_is_older(
    make_sequences_from_events,
):
    # One interaction a second; windows of two. User 0 and item 1 occur at 0 and again at 4.
    events = [(0, 0, 1), (1, 1, 2), (1, 2, 2), (2, 3, 3), (0, 4, 1), (2, 5, 3)]
    log = timeline(make_sequences_from_events(events, 3), seed=0)
    window = window_until(log, 6, 2)
    assert window.users.tolist() == [0, 2]
    assert window.known_users.tolist() == [False, True, True]
    assert window.known_items.tolist() == [False, False, True, True]


def test_an_earlier_window_leaves_out_who_only_later_entered_the_core(
    make_sequences_from_events,
):
    # Everybody ends with two interactions. User 2 has only one before position 5.
    events = [(0, 0, 1), (0, 1, 1), (1, 2, 1), (1, 3, 1), (2, 4, 1), (2, 5, 1)]
    log = timeline(make_sequences_from_events(events, 1), seed=0)
    assert window_until(log, 5, 2).users.tolist() == [1, 1]
    assert window_until(log, 6, 2).users.tolist() == [2, 2]


def test_there_is_no_window_when_nothing_lies_before_it(make_sequences_from_events):
    log = timeline(make_sequences_from_events([(0, 0, 1), (0, 1, 1), (0, 2, 1)], 1), seed=0)
    assert window_until(log, 3, 2) is None
    assert window_until(log, 3, 0) is None
    assert window_until(log, 0, 1) is None
