import dataclasses

import numpy as np
import pytest

from slmrec.data.sequences import Sequences
from slmrec.models.ensemble import evidence
from slmrec.models.transitions import Transitions
from slmrec.progress import Silent
from slmrec.training import soft_labels as module
from slmrec.training.batches import pack, packed_batches, training_windows
from slmrec.training.soft_labels import held_out_labels

CATALOGUE = 40


@pytest.fixture
def sequences() -> Sequences:
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 8, 50)  # some too short to train on
    offsets = np.concatenate([[0], np.cumsum(lengths + 2)]).astype(np.int64)
    return Sequences(
        offsets=offsets,
        items=generator.integers(1, CATALOGUE + 1, offsets[-1]).astype(np.int32),
        timestamps=np.zeros(offsets[-1], np.int64),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=CATALOGUE,
    )


@pytest.mark.parametrize("score_bytes", [1000, 2**20])
def test_labels_are_what_a_graph_without_the_user_says(
    sequences: Sequences, monkeypatch: pytest.MonkeyPatch, score_bytes: int
) -> None:
    monkeypatch.setattr(module, "SCORE_BYTES", score_bytes)
    labels = held_out_labels(Transitions.fit(sequences), sequences, 50, 5, Silent())
    asked = 0
    for user in range(sequences.users):
        start, end = sequences.offsets[user], sequences.train_end[user]
        train_end = sequences.train_end.copy()
        train_end[user] = start
        others = Transitions.fit(dataclasses.replace(sequences, train_end=train_end))
        for position in range(start, end - 1):
            expected = evidence(others.scores([sequences.items[start : position + 1]]))[0, 1:]
            row = labels.row[position]
            best = np.sort(expected)[::-1][:5]
            kept = expected[labels.items[row] - 1]
            # The scale of what no path reaches means nothing: only compare where paths lead.
            if best[-1] > evidence(np.array([[1.0, 300.0]]))[0, 0]:
                np.testing.assert_allclose(kept, best, rtol=2e-3)
                np.testing.assert_allclose(labels.scores[row], best - best[0], atol=5e-3)
                asked += 1
    assert asked > 50


def test_labels_go_to_the_positions_of_a_packed_batch(sequences: Sequences) -> None:
    labels = held_out_labels(Transitions.fit(sequences), sequences, 50, 5, Silent())
    windows = training_windows(sequences, 50)
    packing = pack(windows.length, 50, np.random.default_rng(0))
    seen = 0
    for batch in packed_batches(sequences, windows, packing, 100):
        soft = labels.of(batch)
        source = batch.source[batch.targets > 0].numpy()
        assert np.array_equal(soft.items.numpy(), labels.items[labels.row[source]])
        seen += len(source)
    assert seen == windows.targets == len(labels.items)
    assert (labels.row >= 0).sum() == seen
