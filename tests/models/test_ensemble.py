import numpy as np
import pytest
import torch

from slmrec.artifacts import open_artifact, publish
from slmrec.errors import ArtifactError
from slmrec.models.checkpoint import load_ensemble, load_model, write_model
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.ensemble import Ensemble, evidence
from slmrec.models.loading import load_scorer
from slmrec.models.memory import FLOOR
from slmrec.models.popularity import Popularity
from slmrec.models.transitions import Transitions

HISTORIES = [np.array([1, 2, 3], np.int32), np.array([5], np.int32), np.array([], np.int32)]


@pytest.fixture
def ensemble(sequences_of):
    sequences = sequences_of([[1, 2, 3, 4], [2, 4, 5], [5, 6, 1]], [[], [], []], 6)
    shape = DecoderShape(items=6, width=8, heads=2, feed_forward=(8, 8), max_length=4)
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(Decoder(shape))
    gains = {"transitions": 1.5, "popularity": 0.5}
    return Ensemble(networks, Transitions.fit(sequences), Popularity.fit(sequences), gains)


def test_evidence_is_the_log_of_the_share_over_the_floor():
    found = evidence(np.array([[0, 1, 3], [0, 0, 0]], np.float32))
    assert found[0] == pytest.approx([0, np.log1p(1 / 4 / FLOOR), np.log1p(3 / 4 / FLOOR)])
    assert found[1].tolist() == [0, 0, 0]


def test_scores_are_the_networks_mean_and_the_weighted_evidence(ensemble):
    networks = sum(network_scores(network) for network in ensemble.networks) / 2
    expected = (
        networks
        + 1.5 * evidence(ensemble.transitions.scores(HISTORIES))
        + 0.5 * evidence(ensemble.popularity.scores(HISTORIES))
    )
    np.testing.assert_allclose(ensemble.scores(HISTORIES), expected, rtol=1e-5)


def network_scores(network: Decoder) -> np.ndarray:
    rows = []
    for history in HISTORIES:
        items = torch.from_numpy(
            history.astype(np.int64) if len(history) else np.zeros(1, np.int64)
        )
        with torch.inference_mode():
            rows.append(network.catalogue_scores(items[None], torch.tensor([len(items) - 1])))
    return torch.cat(rows).numpy()


def test_a_member_is_left_out_when_its_gain_is_zero(ensemble):
    ensemble.gains = {"transitions": 0.0, "popularity": 0.0}
    np.testing.assert_array_equal(ensemble.scores(HISTORIES), ensemble.network_scores(HISTORIES))


def test_an_ensemble_comes_back_with_the_same_scores(ensemble, tmp_path):
    for name in ("one", "two"):
        with publish(tmp_path / name, "teacher", properties={"name": "teacher"}) as staging:
            write_model(staging, ensemble)
    stored = open_artifact(tmp_path / "one")
    assert stored.digest == open_artifact(tmp_path / "two").digest
    np.testing.assert_array_equal(
        load_ensemble(stored).scores(HISTORIES), ensemble.scores(HISTORIES)
    )
    scorer = load_scorer(tmp_path / "one")
    np.testing.assert_array_equal(scorer.scores(HISTORIES), ensemble.scores(HISTORIES))
    assert scorer.parameters_backbone == 2 * ensemble.networks[0].parameters_backbone()
    with pytest.raises(ArtifactError, match="holds an ensemble, expected one network"):
        load_model(stored)
