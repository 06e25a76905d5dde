import numpy as np

from slmrec.models.popularity import Popularity


def test_training_alone_is_counted_when_an_item_is_held_out(sequences_of):
    sequences = sequences_of([[1, 2], [2]], [[3, 3], [1, 3]], 3)
    model = Popularity.fit(sequences)
    assert model.scores([np.array([], np.int32), np.array([1], np.int32)]).tolist() == [
        [0, 1, 2, 0],
        [0, 1, 2, 0],
    ]
    assert (model.parameters_total, model.parameters_backbone) == (3, 0)


def test_weights_of_training_interactions_are_added_up(make_sequences) -> None:
    sequences = make_sequences([[1, 2, 1, 3, 4], [2, 1, 3, 4]])
    weights = np.asarray([0.5, 1.0, 0.25, 9.0, 9.0, 2.0, 4.0, 9.0, 9.0], dtype=np.float32)
    counts = Popularity.fit(sequences, weights).counts
    assert counts.tolist() == [0.0, 4.75, 3.0, 0.0, 0.0]  # held-out items weigh nothing
