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
from slmrec.evaluation.ranking import top_k
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
    types = {i.data_type for i in onnx.load(servables["int8"] / "scores.onnx").graph.initializer}
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
        for name in ("scores.onnx", "recommend.onnx"):
            content = (place / name).read_bytes()
            assert b"/slmrec/" not in content
            assert b".py" not in content


def test_empty_history_gets_scores(servables: dict[str, Path]) -> None:
    scores = load_scorer(servables["int8"]).scores([np.asarray([], dtype=np.int32)])
    assert scores.shape == (1, 41)
    assert np.isfinite(scores).all()


PROPERTIES = {
    "name": "x",
    "graph_schema": 2,
    "items": 3,
    "max_length": 3,
    "parameters_total": 1,
    "parameters_backbone": 1,
}


def broken(place: Path, **changes: object) -> Path:
    from slmrec.artifacts import publish

    with publish(place, "servable", properties=PROPERTIES | changes) as staging:
        for name in ("scores.onnx", "recommend.onnx", "weights.safetensors"):
            (staging / name).write_bytes(b"not a graph")
    return place


def test_servable_is_refused_when_the_graph_is_not_onnx(tmp_path: Path) -> None:
    servable = load_scorer(broken(tmp_path / "x"))
    with pytest.raises(ArtifactError, match=r"scores\.onnx: ONNX Runtime cannot load it"):
        servable.scores(histories(1))


def test_servable_is_refused_when_its_graphs_are_of_another_version(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="graphs have schema 1, this version of slmrec reads 2"):
        load_scorer(broken(tmp_path / "x", graph_schema=1))


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 10, 40, 55])
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_lists_hold_the_best_of_the_scores(
    servables: dict[str, Path], weights: str, k: int, exclude_seen: bool
) -> None:
    servable = load_scorer(servables[weights], threads=1)
    asked = [*histories(1, 6, 9, 3), np.zeros(0, np.int32)]
    items, values = servable.best(asked, k, exclude_seen=exclude_seen)
    scores = servable.scores(asked)
    assert np.array_equal(items, top_k(scores, asked, k, exclude_seen=exclude_seen))
    listed = items > 0
    rows = np.nonzero(listed)[0]
    np.testing.assert_allclose(values[listed], scores[rows, items[listed]], rtol=1e-6)
    assert (values[~listed] == -np.inf).all()


def test_what_a_person_gets_does_not_hang_on_who_else_is_asked(servables: dict[str, Path]) -> None:
    servable = load_scorer(servables["int8"], threads=1)
    asked = histories(6, 1, 4, 2, 5, 3)
    together = servable.scores(asked)
    for row, history in enumerate(asked):
        np.testing.assert_allclose(servable.scores([history])[0, 1:], together[row, 1:], atol=1e-5)
