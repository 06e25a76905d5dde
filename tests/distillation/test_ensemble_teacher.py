import dataclasses
import itertools

import numpy as np
import pytest
import torch

from slmrec.data.sequences import Sequences
from slmrec.distillation.ensemble_teacher import EnsembleTeacher, stretches
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.models.ensemble import Ensemble, evidence
from slmrec.models.popularity import Popularity
from slmrec.models.transitions import Transitions
from slmrec.training.batches import pack, packed_batches, training_windows
from slmrec.training.folds import fold_of_users


@pytest.fixture
def sequences() -> Sequences:
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 5, 30)  # of the training part: at most one window of four
    offsets = np.concatenate([[0], np.cumsum(lengths + 2)]).astype(np.int64)
    items = np.concatenate([generator.permutation(12)[: n + 2] + 1 for n in lengths])
    return Sequences(
        offsets=offsets,
        items=items.astype(np.int32),
        timestamps=np.zeros(offsets[-1], np.int64),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=12,
    )


@pytest.fixture
def ensemble(sequences, make_decoder) -> Ensemble:
    return Ensemble(
        [make_decoder(seed=seed) for seed in (1, 2, 3)],
        Transitions.fit(sequences),
        Popularity.fit(sequences),
        {"transitions": 1.5, "popularity": 0.5},
    )


def batches(sequences: Sequences):
    windows = training_windows(sequences, 4)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    return packed_batches(sequences, windows, packing, 40)


def test_a_history_is_judged_by_strangers(sequences, ensemble):
    teacher = EnsembleTeacher(ensemble, sequences)
    folds = fold_of_users(sequences, 3)
    popular = 0.5 * evidence(ensemble.popularity.scores([np.zeros(0, np.int32)]))[0]
    checked = set()
    for batch in batches(sequences):
        reading = teacher.read(batch, 2)
        alone = [NetworkTeacher(network).read(batch, 2) for network in ensemble.networks]
        torch.testing.assert_close(reading.states, alone[0].states)
        for row, position in enumerate(batch.source[batch.targets > 0].tolist()):
            user = int(np.searchsorted(sequences.offsets, position, side="right")) - 1
            start = sequences.offsets[user]
            train_end = sequences.train_end.copy()
            train_end[user] = start
            others = Transitions.fit(dataclasses.replace(sequences, train_end=train_end))
            graph = evidence(others.scores([sequences.items[start : position + 1]]))[0]
            expected = alone[folds[user]].scores[row].numpy() + 1.5 * graph + popular
            np.testing.assert_allclose(reading.scores[row, 1:], expected[1:], rtol=2e-3, atol=2e-2)
            checked.add(int(folds[user]))
    assert checked == {0, 1, 2}


def test_stretches_are_what_windows_read_and_their_last_targets(sequences):
    found = []
    for batch in batches(sequences):
        items, offsets = stretches(batch)
        found += [items[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    bounds = zip(sequences.offsets[:-1], sequences.train_end, strict=True)
    assert sorted(found) == sorted(sequences.items[a:b].tolist() for a, b in bounds)


def test_padding_has_no_score(sequences, ensemble):
    reading = EnsembleTeacher(ensemble, sequences).read(next(iter(batches(sequences))), 1)
    assert (reading.scores[:, 0] == -torch.inf).all()
    assert torch.isfinite(reading.scores[:, 1:]).all()
