from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.compress.fast_teacher import FastTeacher, fast_teacher
from slmrec.data.sequences import Sequences
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.ensemble import Ensemble
from slmrec.models.loading import TorchScorer
from slmrec.models.popularity import Popularity
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.models.transitions import Transitions


@pytest.fixture
def decoders() -> list[Decoder]:
    shape = DecoderShape(items=12, width=16, heads=2, feed_forward=(16, 16), max_length=6)
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = Decoder(shape)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        made.append(network.eval())
    return made


HISTORIES = [np.array(items, dtype=np.int32) for items in ([1, 2, 3], [5], [7, 8, 9, 1, 2, 3, 4])]


def test_a_single_network_scores_as_in_torch(decoders: list[Decoder], tmp_path: Path) -> None:
    fast = fast_teacher(decoders[0], tmp_path, threads=1)
    assert isinstance(fast, FastTeacher)
    expected = TorchScorer(decoders[0], "teacher", 0).scores(HISTORIES)
    np.testing.assert_allclose(fast.scores(HISTORIES), expected, atol=1e-4)


def test_an_ensemble_scores_as_in_torch_with_all_that_was_counted(
    decoders: list[Decoder], cycles: Sequences, tmp_path: Path
) -> None:
    ensemble = Ensemble(
        decoders,
        Transitions.fit(cycles),
        Popularity.fit(cycles),
        {"transitions": 0.5, "popularity": 0.2},
    )
    fast = fast_teacher(ensemble, tmp_path, threads=1)
    assert fast is not None
    np.testing.assert_allclose(fast.scores(HISTORIES), ensemble.scores(HISTORIES), atol=1e-4)


def test_other_networks_have_no_graph(tmp_path: Path) -> None:
    other = SASRec(SASRecShape(items=12, width=4, layers=1, heads=1, max_length=8))
    assert fast_teacher(other, tmp_path) is None
