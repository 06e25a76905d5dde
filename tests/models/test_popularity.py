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
