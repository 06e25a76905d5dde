import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.compress.export import write_graphs
from slmrec.compress.forward import with_memory, write_layers
from slmrec.compress.parity import parity
from slmrec.compress.storage import Storage
from slmrec.config import Variant
from slmrec.models.decoder import Decoder
from tests.compress.test_certificate import certified_and_same, histories, make_student

FLOAT32 = Variant(name="float32", weights="float32")


def serve(storage: Storage, folder: Path) -> None:
    """Write what a servable's scores are made of."""
    layers = write_layers(storage)
    write_graphs({"layers.onnx": layers, "whole": with_memory(layers, storage)}, folder)


def test_shares_are_those_of_the_certificate_and_of_first_items(tmp_path: Path) -> None:
    student, sample, variant = make_student(), histories(), Variant(name="int8")
    certified, same = certified_and_same(student, sample, variant, tmp_path)
    storage = Storage.of(student, variant, sample)
    serve(storage, tmp_path)
    found = parity(student, storage, tmp_path, sample)
    assert found["certified_share"] == pytest.approx(certified.mean(), abs=1e-6)
    assert found["same_first_share"] == pytest.approx(same.mean(), abs=1e-6)


def test_coarser_numbers_certify_fewer(tmp_path: Path) -> None:
    student, sample, shares = make_student(), histories(), []
    for settings in ({"weights": "bfloat16"}, {"states": "dynamic"}, {"weights": "int4"}):
        storage = Storage.of(student, Variant(name="v", **settings), sample)
        serve(storage, tmp_path)
        shares.append(parity(student, storage, tmp_path, sample)["certified_share"])
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[2]


def test_a_graph_of_another_model_is_far_away(tmp_path: Path) -> None:
    student, sample = make_student(), histories()
    torch.manual_seed(2)
    other = Decoder(student.shape.model_copy(update={"memory": 0})).eval()
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    storage = Storage.of(other, FLOAT32, sample)
    serve(storage, tmp_path)
    own = dataclasses.replace(storage, model=student)
    found = parity(student, own, tmp_path, sample)
    assert found["top10_overlap"] < 0.4  # 10 of 60 at random: a sixth
    assert found["score_error"] > 0.5
    assert found["certified_share"] < 0.05
    assert found["ndcg_difference"] != 0


def test_histories_of_one_item_say_nothing_of_the_next(tmp_path: Path) -> None:
    student = make_student()
    storage = Storage.of(student, FLOAT32, [])
    serve(storage, tmp_path)
    found = parity(student, storage, tmp_path, [np.array([5], dtype=np.int32)])
    assert "ndcg_difference" not in found
    assert found["top10_overlap"] == 1.0


def test_nothing_is_said_of_an_empty_sample(tmp_path: Path) -> None:
    storage = Storage.of(make_student(), FLOAT32, [])
    assert parity(make_student(), storage, tmp_path, []) == {}
