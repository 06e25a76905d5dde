from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.errors import ArtifactError
from slmrec.models.checkpoint import SHAPE, item_vectors, load_decoder, load_model, write_model
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.loading import load_scorer
from slmrec.models.sasrec import SASRec, SASRecShape

PROPERTIES = {"name": "student"}


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(
        DecoderShape(items=9, width=8, heads=2, feed_forward=(8, 16), max_length=4)
    ).eval()


def store(folder: Path, model: Decoder | SASRec, kind: str = "student") -> Artifact:
    with publish(folder, kind, properties=PROPERTIES) as staging:
        write_model(staging, model)
    return open_artifact(folder)


def test_model_comes_back_with_the_same_scores(tmp_path: Path, decoder: Decoder) -> None:
    artifact = store(tmp_path / "m", decoder)
    items, last = torch.tensor([[1, 2, 3]]), torch.tensor([2])
    with torch.inference_mode():
        expected = decoder.catalogue_scores(items, last)
        loaded = load_model(artifact).catalogue_scores(items, last)
    # Weights in a file begin at other addresses, for which some processors add in another order.
    torch.testing.assert_close(loaded, expected, rtol=1e-5, atol=1e-6)
    scores = load_scorer(tmp_path / "m").scores([np.asarray([1, 2, 3], dtype=np.int32)])
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert torch.equal(item_vectors(artifact), decoder.items.weight)


def test_same_model_gives_the_same_bytes(tmp_path: Path, decoder: Decoder) -> None:
    assert store(tmp_path / "a", decoder).digest == store(tmp_path / "b", decoder).digest


def test_weights_are_refused_when_they_do_not_fit_the_shape(
    tmp_path: Path, decoder: Decoder
) -> None:
    with publish(tmp_path / "m", "student", properties=PROPERTIES) as staging:
        write_model(staging, decoder)
        other = decoder.shape.model_copy(update={"width": 16})
        write_json(staging / SHAPE, {"model": "Decoder", **other.model_dump()})
    with pytest.raises(ArtifactError, match="do not fit"):
        load_model(open_artifact(tmp_path / "m"))


def test_unknown_model_is_refused(tmp_path: Path, decoder: Decoder) -> None:
    with publish(tmp_path / "m", "student", properties=PROPERTIES) as staging:
        write_model(staging, decoder)
        write_json(staging / SHAPE, {"model": "os.system", **decoder.shape.model_dump()})
    with pytest.raises(ArtifactError, match=r"unknown model 'os\.system'"):
        load_model(open_artifact(tmp_path / "m"))


def test_sasrec_is_refused_where_a_decoder_is_needed(tmp_path: Path) -> None:
    model = SASRec(SASRecShape(items=9, width=8, layers=1, heads=2, max_length=4))
    with pytest.raises(ArtifactError, match="holds a SASRec, expected a Decoder"):
        load_decoder(store(tmp_path / "m", model))
