import numpy as np
import pytest

from slmrec.data.sequences import Sequences
from slmrec.models.baselines import BACKWARD, DAMPING, DECAY, SECOND_HOP, Popularity, Transitions


def sequences_of(train, held_out, item_count):
    """Sequences whose users have the given training items and then the held-out ones."""
    lengths = [len(a) + len(b) for a, b in zip(train, held_out, strict=True)]
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    items = [i for a, b in zip(train, held_out, strict=True) for i in (*a, *b)]
    train_end = offsets[:-1] + [len(a) for a in train]
    return Sequences(
        offsets=offsets,
        items=np.array(items, dtype=np.int32),
        timestamps=np.zeros(len(items), dtype=np.int64),
        train_end=train_end,
        validation_end=np.minimum(train_end + 1, offsets[1:]),
        item_count=item_count,
    )


def history(*items):
    return np.array(items, dtype=np.int32)


def test_popularity_counts_training_only_when_an_item_is_held_out():
    sequences = sequences_of([[1, 2], [2]], [[3, 3], [1, 3]], 3)
    model = Popularity.fit(sequences)
    assert model.scores([history(), history(1)]).tolist() == [[0, 1, 2, 0], [0, 1, 2, 0]]
    assert (model.parameters_total, model.parameters_backbone) == (3, 0)


def test_transition_scores_equal_hand_arithmetic_when_one_user_was_seen():
    # Training 1 -> 2 only. From 1: forward weight 1; 2 -> 1 backward. Strengths: 1 and BACKWARD.
    sequences = sequences_of([[1, 2]], [[3]], 3)
    found = Transitions.fit(sequences).scores([history(1)])[0]
    assert found[2] == pytest.approx(1.0)  # 1 ** -DAMPING · 1
    assert found[1] == pytest.approx(1.0 * SECOND_HOP / BACKWARD * BACKWARD)  # there and back
    backward = Transitions.fit(sequences).scores([history(2)])[0]
    assert backward[1] == pytest.approx(BACKWARD**-DAMPING * BACKWARD)


def test_nearer_items_count_more_when_distances_differ():
    # Disjoint second hops are kept out by looking at first-hop ratios: 1/1 against 1/2.
    sequences = sequences_of([[1, 2, 3]], [[4]], 4)
    model = Transitions.fit(sequences)
    graph = model._graph.toarray()
    assert graph[1, 2] == 1.0
    assert graph[1, 3] == pytest.approx(1 / 2)
    assert graph[3, 1] == pytest.approx(BACKWARD / 2)


def test_transitions_stop_at_the_border_when_users_follow_each_other():
    graph = Transitions.fit(sequences_of([[1, 2], [3, 4]], [[], []], 4))._graph.toarray()
    assert graph[2, 3] == graph[3, 2] == graph[1, 3] == 0


def test_held_out_items_leave_no_trace_when_they_follow_training():
    graph = Transitions.fit(sequences_of([[1, 2]], [[3, 4]], 4))._graph.toarray()
    assert np.argwhere(graph).tolist() == [[1, 2], [2, 1]]


def test_newest_item_weighs_most_when_the_history_holds_two():
    # Two separate pairs: 1 -> 2 and 3 -> 4; the history ends in 3.
    model = Transitions.fit(sequences_of([[1, 2], [3, 4]], [[], []], 4))
    found = model.scores([history(1, 3)])[0]
    assert found[4] == pytest.approx(1.0)
    assert found[2] == pytest.approx(DECAY)


def test_only_recent_items_are_looked_up_when_the_history_is_long():
    model = Transitions.fit(sequences_of([[1, 2], [3, 4]], [[], []], 4))
    found = model.scores([history(1, 3, 3, 3, 3, 3)])[0]
    assert found[2] < min(found[3], found[4])


def test_second_hop_reaches_items_when_they_never_stood_beside_the_last_one():
    sequences = sequences_of([[1, 2], [2, 3], [4, 4]], [[], [], []], 4)
    found = Transitions.fit(sequences).scores([history(1)])[0]
    # First hop to 2 (weight 1, strength of 1 is 1); 2 leads to 3 with 1 of its 1 + BACKWARD.
    assert found[3] == pytest.approx(SECOND_HOP / (1 + BACKWARD))


def test_popularity_decides_below_every_path_when_items_are_not_reached():
    train = [[1, 2], [5, 6, 5], [6, 6], [7]]
    model = Transitions.fit(sequences_of(train, [[], [], [], []], 8))
    found = model.scores([history(1)])[0]
    reached, popular, rare, never = found[[1, 2]].min(), found[6], found[7], found[8]
    assert reached > popular > rare > never == 0


def test_popularity_alone_decides_when_the_history_is_empty():
    model = Transitions.fit(sequences_of([[1, 2], [2]], [[], []], 3))
    found = model.scores([history()])[0]
    assert np.argsort(-found[1:], kind="stable").tolist() == [1, 0, 2]
    assert model.scores([]).shape == (0, 4)


def test_scores_do_not_depend_on_company_when_histories_are_batched():
    generator = np.random.default_rng(0)
    train = generator.integers(1, 30, size=(40, 8)).tolist()
    model = Transitions.fit(sequences_of(train, [[]] * 40, 30))
    asked = [history(*row[:5]) for row in train]
    together = model.scores(asked)
    apart = np.concatenate([model.scores([one]) for one in asked])
    assert np.array_equal(together, apart)
    assert together.dtype == np.float32
