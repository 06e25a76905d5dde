from pathlib import Path

import pytest
import torch

from slmrec.config import CacheTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.distance import teacher_distance
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.student import Scaffold
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.distillation.write_cache import write_shard
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.progress import Silent


@pytest.fixture
def decoder(make_decoder) -> Decoder:
    return make_decoder(max_length=8)


@pytest.fixture
def cache(decoder: Decoder, cycles: Sequences, tmp_path: Path) -> TeacherCache:
    config = CacheTeacher(blocks=2, top_k=2, shards=1)
    write_shard(tmp_path / "c", NetworkTeacher(decoder), cycles, "0/1", config, {}, Silent())
    return TeacherCache([tmp_path / "c"], cycles)


def test_distance_is_none_when_the_student_is_the_teacher(
    decoder: Decoder, cycles: Sequences, cache: TeacherCache
) -> None:
    found = teacher_distance(decoder, Scaffold(8, 2, 8), cycles, cache)
    assert found["positions"] == 60 * 6
    assert not found["projected"]
    for block in found["blocks"]:
        assert block["cosine"] == pytest.approx(1, abs=1e-4)
        assert block["distance"] < 0.05  # bfloat16 in the cache
    assert 0.5 < found["certified_share"] <= found["same_first_share"]
    assert found["teacher_first_share"] > 0.98


def test_certificate_is_never_given_where_the_first_items_differ(
    decoder: Decoder, cycles: Sequences, cache: TeacherCache
) -> None:
    for noise in (0.001, 0.01, 0.1):
        torch.manual_seed(0)
        student = decoder.with_layers(range(4), 0.0, 0.0).eval()
        for parameter in student.parameters():
            parameter.data += noise * torch.randn_like(parameter)
        found = teacher_distance(student, Scaffold(8, 2, 8), cycles, cache)
        assert found["certified_share"] <= found["same_first_share"]


def test_projected_states_are_compared_and_nothing_is_certified_when_widths_differ(
    decoder: Decoder, cycles: Sequences, cache: TeacherCache
) -> None:
    shape = DecoderShape(items=12, width=4, heads=1, feed_forward=(4, 4), max_length=8)
    scaffold = Scaffold(4, 2, 8)
    for projection in scaffold.projections:
        torch.nn.init.zeros_(projection.weight)
    found = teacher_distance(Decoder(shape).eval(), scaffold, cycles, cache)
    assert found["projected"]
    assert found["certified_share"] is None
    assert found["same_first_share"] is None
    assert 0 <= found["teacher_first_share"] <= 1
    windows = cycles.split_mask("train").nonzero()[0].reshape(60, 7)[:, :-1].ravel()
    norms = cache.read(windows).states.norm(dim=-1).mean(dim=0)  # what is left beside zeros
    assert [block["distance"] for block in found["blocks"]] == pytest.approx(norms.tolist())
    assert [block["cosine"] for block in found["blocks"]] == [0, 0]
    # a map that no loss trained has nothing to say
    untrained = teacher_distance(
        Decoder(shape).eval(), scaffold, cycles, cache, states_matched=False
    )
    assert untrained["blocks"] == []


def test_sample_is_as_large_as_asked_and_always_the_same(
    decoder: Decoder, cycles: Sequences, cache: TeacherCache
) -> None:
    student = decoder.with_layers([0, 1], 0.0, 0.0).eval()
    first, second = (
        teacher_distance(student, Scaffold(8, 2, 8), cycles, cache, max_positions=50)
        for _ in range(2)
    )
    assert first == second
    assert first["positions"] == 54  # nine windows of six
