import dataclasses

import numpy as np
import pytest

from slmrec.models import transitions
from slmrec.models.transitions import (
    BACKWARD,
    DAMPING,
    DECAY,
    SECOND_HOP,
    Transitions,
)


@pytest.fixture(autouse=True, params=[0.0, 2.0], ids=["dense", "sparse"])
def multiplied(request, monkeypatch):
    """Whether the graph is multiplied as a dense one, whatever it holds."""
    monkeypatch.setattr(transitions, "DENSE_SHARE", request.param)


def history(*items):
    return np.array(items, dtype=np.int32)


def test_transition_scores_equal_hand_arithmetic_when_one_user_was_seen(sequences_of):
    # Training 1 -> 2 only. From 1: forward weight 1; 2 -> 1 backward. Strengths: 1 and BACKWARD.
    sequences = sequences_of([[1, 2]], [[3]], 3)
    found = Transitions.fit(sequences).scores([history(1)])[0]
    assert found[2] == pytest.approx(1.0)  # 1 ** -DAMPING · 1
    assert found[1] == pytest.approx(1.0 * SECOND_HOP / BACKWARD * BACKWARD)  # there and back
    backward = Transitions.fit(sequences).scores([history(2)])[0]
    assert backward[1] == pytest.approx(BACKWARD**-DAMPING * BACKWARD)


def test_nearer_items_count_more_when_distances_differ(sequences_of):
    # Disjoint second hops are kept out by looking at first-hop ratios: 1/1 against 1/2.
    sequences = sequences_of([[1, 2, 3]], [[4]], 4)
    model = Transitions.fit(sequences)
    graph = model._graph.toarray()
    assert graph[1, 2] == 1.0
    assert graph[1, 3] == pytest.approx(1 / 2)
    assert graph[3, 1] == pytest.approx(BACKWARD / 2)


def test_transitions_stop_at_the_border_when_users_follow_each_other(sequences_of):
    graph = Transitions.fit(sequences_of([[1, 2], [3, 4]], [[], []], 4))._graph.toarray()
    assert graph[2, 3] == graph[3, 2] == graph[1, 3] == 0


def test_held_out_items_leave_no_trace_when_they_follow_training(sequences_of):
    graph = Transitions.fit(sequences_of([[1, 2]], [[3, 4]], 4))._graph.toarray()
    assert np.argwhere(graph).tolist() == [[1, 2], [2, 1]]


def test_newest_item_weighs_most_when_the_history_holds_two(sequences_of):
    # Two separate pairs: 1 -> 2 and 3 -> 4; the history ends in 3.
    model = Transitions.fit(sequences_of([[1, 2], [3, 4]], [[], []], 4))
    found = model.scores([history(1, 3)])[0]
    assert found[4] == pytest.approx(1.0)
    assert found[2] == pytest.approx(DECAY)


def test_only_recent_items_are_looked_up_when_the_history_is_long(sequences_of):
    model = Transitions.fit(sequences_of([[1, 2], [3, 4]], [[], []], 4))
    found = model.scores([history(1, 3, 3, 3, 3, 3)])[0]
    assert found[2] < min(found[3], found[4])


def test_second_hop_reaches_items_when_they_never_stood_beside_the_last_one(sequences_of):
    sequences = sequences_of([[1, 2], [2, 3], [4, 4]], [[], [], []], 4)
    found = Transitions.fit(sequences).scores([history(1)])[0]
    # First hop to 2 (weight 1, strength of 1 is 1); 2 leads to 3 with 1 of its 1 + BACKWARD.
    assert found[3] == pytest.approx(SECOND_HOP / (1 + BACKWARD))


def test_popularity_decides_below_every_path_when_items_are_not_reached(sequences_of):
    train = [[1, 2], [5, 6, 5], [6, 6], [7]]
    model = Transitions.fit(sequences_of(train, [[], [], [], []], 8))
    found = model.scores([history(1)])[0]
    reached, popular, rare, never = found[[1, 2]].min(), found[6], found[7], found[8]
    assert reached > popular > rare > never == 0


def test_popularity_alone_decides_when_the_history_is_empty(sequences_of):
    model = Transitions.fit(sequences_of([[1, 2], [2]], [[], []], 3))
    found = model.scores([history()])[0]
    assert np.argsort(-found[1:], kind="stable").tolist() == [1, 0, 2]
    assert model.scores([]).shape == (0, 4)


def test_scores_do_not_depend_on_company_when_histories_are_batched(sequences_of):
    generator = np.random.default_rng(0)
    train = generator.integers(1, 30, size=(40, 8)).tolist()
    model = Transitions.fit(sequences_of(train, [[]] * 40, 30))
    asked = [history(*row[:5]) for row in train]
    together = model.scores(asked)
    apart = np.concatenate([model.scores([one]) for one in asked])
    assert np.array_equal(together, apart)
    assert together.dtype == np.float32


@pytest.mark.parametrize("catalogue", [6, 60])
def test_held_out_scores_are_those_of_a_graph_that_never_saw_the_user(sequences_of, catalogue):
    generator = np.random.default_rng(1)
    lengths = generator.integers(2, 12, 30)
    # With six items histories repeat theirs, with sixty most paths hang on few users.
    train = [generator.integers(1, catalogue + 1, length).tolist() for length in lengths]
    sequences = sequences_of(train, [[]] * 30, catalogue)
    model = Transitions.fit(sequences)
    found = model.held_out_scores(sequences.items, sequences.offsets)
    row = 0
    for user, stretch in enumerate(train):
        train_end = sequences.train_end.copy()
        train_end[user] = sequences.offsets[user]
        others = Transitions.fit(dataclasses.replace(sequences, train_end=train_end))
        beginnings = [history(*stretch[:length]) for length in range(1, len(stretch))]
        expected = others.scores(beginnings)
        others._popularity[:] = 0
        paths = others.scores(beginnings) > 0
        mine = found[row : row + len(expected)]
        np.testing.assert_allclose(mine[paths], expected[paths], rtol=1e-4)
        # Unreached items come below all paths, by the others' counts; the scale means nothing.
        rest = ~paths.any(axis=1)
        scale = (model._counts.max() + 1) / (others._counts.max() + 1)
        np.testing.assert_allclose(mine[rest] * scale, expected[rest], rtol=1e-4)
        row += len(expected)
    assert row == len(found)


def test_a_model_is_the_same_when_rebuilt_from_its_arrays(sequences_of):
    model = Transitions.fit(sequences_of([[1, 2, 3], [3, 1]], [[], []], 4))
    again = Transitions.from_arrays(model.arrays())
    asked = [history(1), history(3, 1), history()]
    assert np.array_equal(model.scores(asked), again.scores(asked))
