import copy
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch

from slmrec.artifacts import Artifact, open_artifact
from slmrec.compress.export import export_servable
from slmrec.config import Variant
from slmrec.errors import ArtifactError, DataError
from slmrec.evaluation.ranking import top_k
from slmrec.models import servable as servable_module
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.loading import TorchScorer, load_scorer
from slmrec.models.servable import Servable, graph_inputs, open_graph

CATALOGUE = pl.DataFrame(
    {"item_index": list(range(1, 41)), "item_id": [f"i{n}" for n in range(1, 41)]}
)

ROW = 4 * 41
"""Bytes of one history's scores."""


def histories(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 41, size=length).astype(np.int32) for length in lengths]


VARIANTS = {
    "float32": Variant(name="float32", weights="float32"),
    "bfloat16": Variant(name="bfloat16", weights="bfloat16"),
    "int8": Variant(name="int8"),
    "dynamic": Variant(name="dynamic", states="dynamic"),
    "product": Variant(name="product", product_bytes=16),
    "int4": Variant(name="int4", weights="int4"),
}


@pytest.fixture(
    scope="module",
    params=[(0, (32,)), (5, (32,)), (5, (48, 24))],
    ids=["layers alone", "with a memory", "two layers"],
)
def model(request: pytest.FixtureRequest) -> Decoder:
    memory, feed_forward = request.param
    torch.manual_seed(7)
    shape = DecoderShape(
        items=40, width=32, heads=2, feed_forward=feed_forward, max_length=6, memory=memory
    )
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if model.memory is not None:
        generator = np.random.default_rng(1)
        neighbours = generator.integers(1, 41, size=(41, 5))
        neighbours[0] = 0
        model.memory.neighbours.copy_(torch.from_numpy(neighbours))
        held = torch.arange(5) < torch.arange(41)[:, None] % 6  # items have 0 to 5 transitions
        model.memory.weights.copy_(torch.rand(41, 5) * held * (model.memory.neighbours > 0))
        model.memory.popular.copy_(torch.rand(41))
        model.memory.gain.fill_(0.5)
    return model


def export(model: Decoder, variant: Variant, place: Path) -> tuple[Artifact, dict[str, float]]:
    sample = histories(3, 5, 6, 6, 1, 4)
    return export_servable(
        model, CATALOGUE, variant, place, calibration=sample, sample=sample, inputs={}
    )


def export_unseen(model: Decoder, place: Path, catalogue: pl.DataFrame = CATALOGUE) -> None:
    """Export in float32 without a look at any history."""
    variant = VARIANTS["float32"]
    export_servable(model, catalogue, variant, place, calibration=[], sample=[], inputs={})


@pytest.fixture(scope="module")
def servables(model: Decoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("servables")
    for name, variant in VARIANTS.items():
        export(model, variant, folder / name)
    return {name: folder / name for name in VARIANTS}


@pytest.mark.parametrize("lengths", [(1,), (6,), (3, 1, 6, 2), (9, 12), tuple([4] * 64)])
def test_float32_scores_equal_torch_at_every_batch_and_length(
    model: Decoder, servables: dict[str, Path], lengths: tuple[int, ...]
) -> None:
    batch = histories(*lengths)
    expected = TorchScorer(model, "torch", 0).scores(batch)
    found = load_scorer(servables["float32"], threads=1).scores(batch)
    np.testing.assert_allclose(found[:, 1:], expected[:, 1:], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "error", "kind"),
    [
        ("bfloat16", 0.01, onnx.TensorProto.BFLOAT16),
        ("int8", 0.05, onnx.TensorProto.INT8),
        ("dynamic", 0.03, onnx.TensorProto.INT8),
        ("int4", 0.3, onnx.TensorProto.UINT8),
    ],
)
@pytest.mark.parametrize("lengths", [(1,), (6, 5, 4, 3, 2, 1), tuple([6] * 64)])
def test_fewer_bytes_stay_near_the_torch_scores(
    model: Decoder,
    servables: dict[str, Path],
    name: str,
    error: float,
    kind: int,
    lengths: tuple[int, ...],
) -> None:
    small, large = (load_scorer(servables[one], threads=1) for one in (name, "float32"))
    batch = histories(*lengths)
    expected = TorchScorer(model, "torch", 0).scores(batch)[:, 1:]
    found = np.abs(small.scores(batch)[:, 1:] - expected).mean()
    assert 0 < found < error * expected.std()
    types = {i.data_type for i in onnx.load(servables[name] / "layers.onnx").graph.initializer}
    assert kind in types
    assert small.bytes < large.bytes


@pytest.mark.parametrize(("name", "error"), [("float32", 1e-5), ("int8", 0.06), ("int4", 0.3)])
@pytest.mark.parametrize("heads", [(1,), (1, 2)])
def test_pruned_heads_and_channels_are_exported(
    heads: tuple[int, ...], name: str, error: float, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    widths = tuple(8 * (number + 1) for number in range(len(heads)))
    shape = DecoderShape(
        items=40, width=32, heads=2, kept_heads=heads, feed_forward=widths, max_length=6
    )
    pruned = Decoder(shape).eval()
    for parameter in pruned.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    artifact, _ = export(pruned, VARIANTS[name], tmp_path / "pruned")
    batch = [*histories(6, 2, 1, 8), np.zeros(0, np.int32)]
    expected = TorchScorer(pruned, "torch", 0).scores(batch)[:, 1:]
    found = Servable(artifact, threads=1).scores(batch)[:, 1:]
    assert np.abs(found - expected).mean() < error * expected.std()


def test_product_quantization_loses_little_where_pieces_are_many(tmp_path: Path) -> None:
    torch.manual_seed(5)
    shape = DecoderShape(items=900, width=32, heads=2, feed_forward=(32,), max_length=6)
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    generator = np.random.default_rng(0)
    sample = [generator.integers(1, 901, size=5).astype(np.int32) for _ in range(50)]
    catalogue = pl.DataFrame({"item_index": range(1, 901)})
    errors, sizes = [], []
    for parts in (8, 16, 32):
        artifact, figures = export_servable(
            model,
            catalogue,
            Variant(name="product", product_bytes=parts),
            tmp_path / str(parts),
            calibration=sample,
            sample=sample,
            inputs={},
        )
        errors.append(figures["score_error"])
        sizes.append(Servable(artifact).bytes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 < errors[0]
    assert sizes == sorted(sizes)


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
    for name in ("int8", "product"):
        again, _ = export(model, VARIANTS[name], tmp_path / name)
        assert again.digest == open_artifact(servables[name]).digest
    for place in servables.values():
        for name in ("layers.onnx", "recommend.onnx"):
            content = (place / name).read_bytes()
            assert b"/slmrec/" not in content
            assert b".py" not in content


def test_nobody_gets_no_scores(servables: dict[str, Path]) -> None:
    assert load_scorer(servables["int8"]).scores([]).shape == (0, 41)


def test_empty_history_gets_scores(servables: dict[str, Path]) -> None:
    scores = load_scorer(servables["int8"]).scores([np.asarray([], dtype=np.int32)])
    assert scores.shape == (1, 41)
    assert np.isfinite(scores).all()


PROPERTIES = {
    "name": "x",
    "graph_schema": 4,
    "weights": "int8",
    "items": 3,
    "max_length": 3,
    "parameters_total": 1,
    "parameters_backbone": 1,
}


def broken(place: Path, **changes: object) -> Path:
    from slmrec.artifacts import publish

    with publish(place, "servable", properties=PROPERTIES | changes) as staging:
        for name in ("layers.onnx", "recommend.onnx", "weights.safetensors"):
            (staging / name).write_bytes(b"not a graph")
    return place


def test_servable_is_refused_when_the_graph_is_not_onnx(tmp_path: Path) -> None:
    servable = load_scorer(broken(tmp_path / "x"))
    with pytest.raises(ArtifactError, match=r"layers\.onnx: ONNX Runtime cannot load it"):
        servable.scores(histories(1))


def test_servable_is_refused_when_its_graphs_are_of_another_version(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="graphs have schema 1, this version of slmrec reads 4"):
        load_scorer(broken(tmp_path / "x", graph_schema=1))


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 10, 40, 55])
@pytest.mark.parametrize("weights", ["float32", "int8", "int4"])
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


@pytest.mark.parametrize(("items", "max_length"), [(40, 3), (1500, 6)])
def test_a_memory_is_asked_for_what_the_layers_read(
    items: int, max_length: int, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    shape = DecoderShape(
        items=items, width=32, heads=2, feed_forward=(32,), max_length=max_length, memory=4
    )
    model = Decoder(shape).eval()
    generator = np.random.default_rng(2)
    assert model.memory is not None
    followers = generator.integers(1, items + 1, size=(items + 1, 4))
    weights = torch.rand(items + 1, 4)
    followers[0], weights[0] = 0, 0  # padding leads nowhere
    model.memory.neighbours.copy_(torch.from_numpy(followers))
    model.memory.weights.copy_(weights)
    model.memory.gain.fill_(1.0)
    catalogue = pl.DataFrame(
        {"item_index": range(1, items + 1), "item_id": [f"i{n}" for n in range(1, items + 1)]}
    )
    export_unseen(model, tmp_path / "x", catalogue)
    asked = [generator.integers(1, items + 1, length).astype(np.int32) for length in (1, 5, 9)]
    servable = load_scorer(tmp_path / "x", threads=1)
    expected = TorchScorer(model, "torch", 0).scores(asked)
    np.testing.assert_allclose(servable.scores(asked)[:, 1:], expected[:, 1:], atol=1e-4)
    listed, _ = whole_graph(tmp_path / "x", asked, 10, max_length)
    assert np.array_equal(listed, servable.best(asked, 10, exclude_seen=True)[0])


def whole_graph(
    place: Path, asked: list[np.ndarray], k: int, max_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lists by `recommend.onnx`."""
    longest = max(len(history) for history in asked)
    seen = np.stack([np.pad(history, (0, longest + 1 - len(history))) for history in asked])
    given = {"seen": seen.astype(np.int64), "k": np.asarray([k])}
    whole = open_graph(place / "recommend.onnx", threads=1)
    return whole.run(["best_items", "best_scores"], graph_inputs(asked, max_length) | given)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("k", [3, 55])
def test_the_whole_graph_lists_what_is_served(
    servables: dict[str, Path], name: str, k: int
) -> None:
    asked = [*histories(1, 6, 9, 3, 12), np.zeros(0, np.int32)]
    items, scores = load_scorer(servables[name], threads=1).best(asked, k, exclude_seen=True)
    listed, values = whole_graph(servables[name], asked, min(k, 40), max_length=6)
    left = items[:, :40] > 0
    assert np.array_equal(np.where(values > -np.inf, listed, 0), items[:, :40])
    np.testing.assert_allclose(values[left], scores[:, :40][left], rtol=1e-5, atol=1e-6)


def test_a_history_of_another_catalogue_is_refused(servables: dict[str, Path]) -> None:
    servable = load_scorer(servables["int8"])
    older = np.asarray([41, *[1] * 6], dtype=np.int32)  # the layers read the six newest
    with pytest.raises(DataError, match="histories with items 1 to 41, expected 0 to 40"):
        servable.best([older], 3, exclude_seen=True)
    with pytest.raises(DataError, match="histories with items 5 to 2147483647, expected 0 to 40"):
        servable.best([np.asarray([5, 2**32 + 5])], 3, exclude_seen=True)


def test_lists_are_refused_when_a_score_is_nan(model: Decoder, tmp_path: Path) -> None:
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.norm.weight.fill_(torch.nan)
    export_unseen(broken, tmp_path / "x")
    with pytest.raises(ArtifactError, match="a score is NaN, expected numbers only"):
        load_scorer(tmp_path / "x").best(histories(3), 2, exclude_seen=True)


def test_many_at_once_get_what_each_alone_gets(servables: dict[str, Path]) -> None:
    generator = np.random.default_rng(3)
    asked = histories(*generator.integers(0, 12, size=150))
    several, one = (Servable(open_artifact(servables["int8"]), threads) for threads in (3, 1))
    items, values = several.best(asked, 5, exclude_seen=True)
    np.testing.assert_allclose(several.scores(asked), one.scores(asked), atol=1e-5)
    for row in range(0, 150, 7):
        alone, value = one.best([asked[row]], 5, exclude_seen=True)
        assert items[row].tolist() == alone[0].tolist()
        np.testing.assert_allclose(values[row], value[0], atol=1e-5)


@pytest.mark.parametrize(
    ("in_caches", "together", "threads", "rows"),
    [
        (64 * ROW, 256 * ROW, 1, 64),  # what caches hold
        (ROW, 256 * ROW, 1, 16),  # they hold one, but a call reads the whole table
        (ROW, 8 * ROW, 2, 4),  # so many that they would fill the memory
        (ROW, ROW, 2, 1),
    ],
)
def test_calls_have_as_many_histories_as_pay(
    servables: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    in_caches: int,
    together: int,
    threads: int,
    rows: int,
) -> None:
    monkeypatch.setattr(servable_module, "PART_BYTES", in_caches)
    monkeypatch.setattr(servable_module, "FEWEST_BYTES", together)
    asked: list[int] = []
    of_flat = servable_module.Forward.of_flat

    def counted(self: object, items: np.ndarray, starts: np.ndarray) -> object:
        asked.append(len(starts) - 1)
        return of_flat(self, items, starts)  # type: ignore[arg-type]

    monkeypatch.setattr(servable_module.Forward, "of_flat", counted)
    load_scorer(servables["int8"], threads).best(histories(*[4] * 128), 3, exclude_seen=True)
    assert asked == [rows] * (128 // rows)


@pytest.mark.parametrize("name", ["int8", "dynamic", "int4", "product"])
def test_what_a_person_gets_does_not_hang_on_who_else_is_asked(
    servables: dict[str, Path], name: str
) -> None:
    servable = load_scorer(servables[name], threads=1)
    asked = histories(6, 1, 4, 2, 5, 3)
    together = servable.scores(asked)
    for row, history in enumerate(asked):
        np.testing.assert_allclose(servable.scores([history])[0, 1:], together[row, 1:], atol=1e-5)


def test_the_artifact_says_how_far_it_is_from_its_model(servables: dict[str, Path]) -> None:
    found = {name: open_artifact(place).json("parity.json") for name, place in servables.items()}
    assert found["float32"]["top10_overlap"] == 1.0
    assert found["float32"]["score_error"] < 1e-5
    assert found["float32"]["certified_share"] == 1.0
    assert found["float32"]["ndcg_difference"] == 0.0
    assert 0 < found["dynamic"]["score_error"] < found["int4"]["score_error"]
