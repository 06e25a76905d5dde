"""The certificate of quantization against what really happens."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.compress.export import write_graphs
from slmrec.compress.forward import SCORES, STATES, write_forward
from slmrec.compress.parity import certified_leads, parity
from slmrec.compress.storage import Storage
from slmrec.config import Variant
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import right_padded
from slmrec.models.servable import graph_inputs, open_graph

ITEMS = 60


@pytest.fixture(scope="module")
def sample() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, ITEMS + 1, size=n).astype(np.int32) for n in rng.integers(1, 9, 300)]


@pytest.fixture(scope="module")
def student() -> Decoder:
    torch.manual_seed(11)
    shape = DecoderShape(items=ITEMS, width=32, heads=2, feed_forward=(32,), max_length=8, memory=4)
    made = Decoder(shape).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert made.memory is not None
    neighbours = np.random.default_rng(1).integers(1, ITEMS + 1, size=(ITEMS + 1, 4))
    neighbours[0] = 0
    made.memory.neighbours.copy_(torch.from_numpy(neighbours))
    made.memory.weights.copy_(torch.rand(ITEMS + 1, 4) * (made.memory.neighbours > 0))
    made.memory.gain.fill_(0.5)
    return made


VARIANTS = [
    Variant(name="float32", weights="float32"),
    Variant(name="bfloat16", weights="bfloat16"),
    Variant(name="static"),
    Variant(name="dynamic", states="dynamic"),
    Variant(name="int4", weights="int4"),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_who_is_certified_is_given_the_same_first_item(
    student: Decoder, sample: list[np.ndarray], variant: Variant, tmp_path: Path
) -> None:
    storage = Storage.of(student, variant, sample)
    write_graphs(write_forward(storage), tmp_path)
    session = open_graph(tmp_path / "scores.onnx", threads=1)
    scores, entering = session.run([SCORES, STATES], graph_inputs(sample, 8))
    items, last = right_padded(sample, 8)
    with torch.inference_mode():
        states = student.last_states(items, last)
        expected = student.catalogue_scores(items, last)
        certified = certified_leads(
            student, storage, (items, last), states, expected, torch.from_numpy(entering)
        ).numpy()
    same = scores[:, 1:].argmax(axis=1) == expected[:, 1:].argmax(dim=1).numpy()
    assert same[certified].all()
    assert certified.any()

    found = parity(student, storage, tmp_path / "scores.onnx", sample)
    assert found["certified_share"] == pytest.approx(certified.mean(), abs=1e-6)
    assert found["same_first_share"] == pytest.approx(same.mean(), abs=1e-6)


def test_coarser_numbers_certify_fewer(
    student: Decoder, sample: list[np.ndarray], tmp_path: Path
) -> None:
    shares = []
    for variant in (VARIANTS[1], VARIANTS[3], VARIANTS[4]):
        storage = Storage.of(student, variant, sample)
        folder = tmp_path / variant.name
        folder.mkdir()
        write_graphs(write_forward(storage), folder)
        shares.append(parity(student, storage, folder / "scores.onnx", sample)["certified_share"])
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[2]


def test_a_graph_of_another_model_is_far_away(
    student: Decoder, sample: list[np.ndarray], tmp_path: Path
) -> None:
    torch.manual_seed(2)
    other = Decoder(student.shape.model_copy(update={"memory": 0})).eval()
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    storage = Storage.of(other, VARIANTS[0], sample)
    write_graphs(write_forward(storage), tmp_path)
    own = dataclasses.replace(storage, model=student)
    found = parity(student, own, tmp_path / "scores.onnx", sample)
    assert found["top10_overlap"] < 0.4  # 10 of 60 at random: a sixth
    assert found["score_error"] > 0.5
    assert found["certified_share"] < 0.05
    assert found["ndcg_difference"] != 0


def test_nothing_is_said_of_an_empty_sample(student: Decoder, tmp_path: Path) -> None:
    storage = Storage.of(student, VARIANTS[0], [])
    assert parity(student, storage, tmp_path / "absent.onnx", []) == {}
