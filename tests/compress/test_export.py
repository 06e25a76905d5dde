from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch

from slmrec.artifacts import open_artifact
from slmrec.compress.export import export_servable
from slmrec.config import Variant
from slmrec.errors import ArtifactError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.loading import TorchScorer, load_scorer
from slmrec.models.servable import Servable

CATALOGUE = pl.DataFrame(
    {"item_index": list(range(1, 41)), "item_id": [f"i{n}" for n in range(1, 41)]}
)


def histories(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 41, size=length).astype(np.int32) for length in lengths]


@pytest.fixture(scope="module", params=[0, 5], ids=["layers alone", "with a memory"])
def model(request: pytest.FixtureRequest) -> Decoder:
    torch.manual_seed(7)
    shape = DecoderShape(
        items=40, width=16, heads=2, feed_forward=(32,), max_length=6, memory=request.param
    )
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if model.memory is not None:
        generator = np.random.default_rng(1)
        neighbours = generator.integers(1, 41, size=(41, 5))
        neighbours[0] = 0
        model.memory.neighbours.copy_(torch.from_numpy(neighbours))
        model.memory.weights.copy_(torch.rand(41, 5) * (model.memory.neighbours > 0))
        model.memory.gain.fill_(0.5)
    return model


@pytest.fixture(scope="module")
def servables(model: Decoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("servables")
    for weights in ("float32", "int8"):
        variant = Variant(name=weights, weights=weights)
        export_servable(
            model, CATALOGUE, variant, folder / weights, sample=histories(3, 5), inputs={}
        )
    return {"float32": folder / "float32", "int8": folder / "int8"}


@pytest.mark.parametrize("lengths", [(1,), (6,), (3, 1, 6, 2), (9, 12), tuple([4] * 64)])
def test_float32_scores_equal_torch_at_every_batch_and_length(
    model: Decoder, servables: dict[str, Path], lengths: tuple[int, ...]
) -> None:
    batch = histories(*lengths)
    expected = TorchScorer(model, "torch", 0).scores(batch)
    found = load_scorer(servables["float32"], threads=1).scores(batch)
    np.testing.assert_allclose(found[:, 1:], expected[:, 1:], atol=1e-4)


def test_int8_is_smaller_and_stays_near_the_torch_scores(
    model: Decoder, servables: dict[str, Path]
) -> None:
    small, large = (load_scorer(servables[name], threads=1) for name in ("int8", "float32"))
    batch = histories(6, 5, 4, 3, 2, 1)
    expected = TorchScorer(model, "torch", 0).scores(batch)[:, 1:]
    error = np.abs(small.scores(batch)[:, 1:] - expected).mean()
    assert 0 < error < 0.05 * expected.std()
    types = {i.data_type for i in onnx.load(servables["int8"] / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types
    assert small.bytes < large.bytes


def test_servable_knows_its_catalogue_and_parameters(
    model: Decoder, servables: dict[str, Path]
) -> None:
    servable = Servable(open_artifact(servables["int8"]))
    assert servable.catalogue["item_id"][4] == "i5"
    assert servable.parameters_backbone == model.parameters_backbone()
    assert servable.name == "int8"


def test_graph_is_the_same_bytes_and_names_no_path_of_the_machine(
    model: Decoder, servables: dict[str, Path], tmp_path: Path
) -> None:
    variant = Variant(name="int8", weights="int8")
    again, _ = export_servable(
        model, CATALOGUE, variant, tmp_path / "again", sample=histories(3, 5), inputs={}
    )
    assert again.digest == open_artifact(servables["int8"]).digest
    for place in servables.values():
        content = (place / "model.onnx").read_bytes()
        assert b"/slmrec/" not in content
        assert b".py" not in content


def test_empty_history_gets_scores(servables: dict[str, Path]) -> None:
    scores = load_scorer(servables["int8"]).scores([np.asarray([], dtype=np.int32)])
    assert scores.shape == (1, 41)
    assert np.isfinite(scores).all()


def test_servable_is_refused_when_the_graph_is_not_onnx(tmp_path: Path) -> None:
    from slmrec.artifacts import publish

    properties = {"name": "x", "max_length": 3, "parameters_total": 1, "parameters_backbone": 1}
    with publish(tmp_path / "x", "servable", properties=properties) as staging:
        (staging / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ArtifactError, match=r"model\.onnx: ONNX Runtime cannot load it"):
        load_scorer(tmp_path / "x")
