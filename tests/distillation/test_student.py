from types import SimpleNamespace
from typing import cast

import pytest
import torch

from slmrec.config import DistillStudent
from slmrec.data.sequences import Sequences
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.student import Scaffold, build_student
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.progress import Silent

CACHE = cast(TeacherCache, SimpleNamespace(width=8, max_length=8))


@pytest.fixture
def decoder(make_decoder) -> Decoder:
    """Four layers of width 8 over twelve items; only the second and last do anything."""
    made = make_decoder(max_length=8)
    for layer in (0, 2):
        torch.nn.init.zeros_(made.layers[layer].self_attn.o_proj.weight)
        torch.nn.init.zeros_(made.layers[layer].mlp.down_proj.weight)
    return made


def layers_of(student: Decoder, teacher: Decoder) -> list[int]:
    """Which of the teacher's layers each of the student's is a copy of; -1 for none."""
    found = []
    for mine in student.layers:
        same = [
            all(
                torch.equal(a, b)
                for a, b in zip(mine.parameters(), theirs.parameters(), strict=True)
            )
            for theirs in teacher.layers
        ]
        found.append(same.index(True) if any(same) else -1)
    return found


@pytest.mark.parametrize(
    ("initial_layers", "expected"),
    [("first", [0, 1]), ("block_influence", [1, 3]), ("random", [-1, -1])],
)
def test_layers_come_from_the_teacher_as_asked(
    decoder: Decoder, cycles: Sequences, initial_layers: str, expected: list[int]
) -> None:
    config = DistillStudent(layers=2, initial_layers=initial_layers)
    student = build_student(decoder, cycles, CACHE, config, Silent())
    assert layers_of(student, decoder) == expected
    assert torch.equal(student.items.weight, decoder.items.weight)


def test_wider_student_starts_with_the_dot_products_of_the_teachers_items(
    decoder: Decoder, cycles: Sequences, progress
) -> None:
    config = DistillStudent(width=16, heads=4)
    student = build_student(decoder, cycles, CACHE, config, progress)
    mine, theirs = (model.items.weight[1:].detach() for model in (student, decoder))
    torch.testing.assert_close(mine @ mine.T, theirs @ theirs.T, atol=1e-5, rtol=1e-5)
    assert (student.shape.heads, student.shape.feed_forward) == (4, (64,))
    assert "start at random" in progress.said[0]


@pytest.mark.parametrize("changed", [{"width": 4}, {"heads": 1}, {"feed_forward": 12}])
def test_layers_are_fresh_when_the_student_has_another_shape(
    decoder: Decoder, cycles: Sequences, changed: dict
) -> None:
    student = build_student(decoder, cycles, CACHE, DistillStudent(**changed), Silent())
    assert layers_of(student, decoder) == [-1]
    for name, value in changed.items():
        assert getattr(student.shape, name) == ((value,) if name == "feed_forward" else value)
    config = DistillStudent(initial_layers="block_influence", **changed)
    with pytest.raises(ConfigError, match="there are no layers to choose from"):
        build_student(decoder, cycles, CACHE, config, Silent())


def test_items_come_from_a_teacher_that_is_another_kind_of_network(cycles: Sequences) -> None:
    other = SASRec(SASRecShape(items=12, width=8, layers=1, heads=2, max_length=8), 0.0, 0.0)
    student = build_student(other, cycles, CACHE, DistillStudent(), Silent())
    assert torch.equal(student.items.weight, other.items.weight)


def test_everything_is_fresh_when_there_is_no_network(cycles: Sequences) -> None:
    student = build_student(None, cycles, CACHE, DistillStudent(layers=2), Silent())
    assert student.shape.feed_forward == (32, 32)
    assert (student.shape.items, student.max_length) == (12, 8)
    assert student.items.weight[0].abs().max() == 0


def test_student_is_refused_when_it_is_deeper_than_its_teacher(
    decoder: Decoder, cycles: Sequences
) -> None:
    config = DistillStudent(layers=5, initial_layers="random")
    with pytest.raises(ConfigError, match="layers is 5 and the teacher has 4"):
        build_student(decoder, cycles, CACHE, config, Silent())


def test_student_is_refused_when_its_heads_do_not_divide_the_teachers_width(
    decoder: Decoder, cycles: Sequences
) -> None:
    with pytest.raises(ConfigError, match="3 heads do not divide width 8 into even parts; set"):
        build_student(decoder, cycles, CACHE, DistillStudent(heads=3), Silent())


def test_scaffold_projects_every_block_end_only_when_widths_differ() -> None:
    states = [torch.ones(3, 4), torch.ones(3, 4)]
    assert Scaffold(4, 2, 4).in_teacher_width(states) is states
    scaffold = Scaffold(4, 2, 6)
    for projection in scaffold.projections:
        torch.nn.init.constant_(projection.weight, 0.5)
    projected = scaffold.in_teacher_width(states)
    assert [state.tolist() for state in projected] == [[[2.0] * 6] * 3] * 2
    assert [state.shape for state in scaffold.inner_states(states)] == [(3, 4)]
