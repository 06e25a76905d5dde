import math

import numpy as np
import pytest
import torch

from slmrec.distillation.cache_format import LOWEST, Layout, decode, encode, to_int8
from slmrec.distillation.teachers import Reading
from slmrec.errors import SlmrecError


def layout(**changes: object) -> Layout:
    values = {"blocks": 2, "width": 8, "top_k": 3, "max_length": 4}
    return Layout(**{**values, "states": "bfloat16", "attention": False, **changes})


def reading(positions: int = 50, items: int = 9, seed: int = 0) -> Reading:
    torch.manual_seed(seed)
    scores = torch.randn(positions, items + 1) * 5
    scores[:, 0] = -torch.inf
    sizes = torch.logspace(-3, 3, positions)[:, None, None]  # small and large rows
    attention = torch.rand(positions, 2, 4).softmax(dim=2)
    return Reading(torch.randn(positions, 2, 8) * sizes, scores, attention)


def test_size_is_the_sum_of_what_each_array_takes() -> None:
    position = 8
    states, scores, tail = 2 * 2 * 8, (4 + 2) * 3, 4
    assert layout().bytes(10) == 10 * (position + states + scores + tail)
    int8 = 2 * 8 + 2 * 4  # a byte a number and a float32 scale a row
    attention = 2 * 2 * 4
    everything = layout(states="int8", attention=True)
    assert everything.bytes(10) == 10 * (position + int8 + scores + tail + attention)


@pytest.mark.parametrize("states", ["bfloat16", "int8"])
def test_arrays_have_the_types_and_shapes_that_the_layout_tells(states: str) -> None:
    told = layout(states=states, attention=True)
    arrays = encode(reading(50), told)
    assert {name: (a.dtype, a.shape) for name, a in arrays.items()} == {
        name: (np.dtype(kind), shape) for name, (kind, shape) in told.arrays(50).items()
    }
    assert Layout.of(told.properties()) == told


def test_bfloat16_states_are_off_by_at_most_half_a_unit_of_eight_bits() -> None:
    said = reading()
    found = decode(encode(said, layout())).states
    assert ((found - said.states).abs() <= 2**-8 * said.states.abs()).all()


def test_int8_states_are_off_by_at_most_half_a_step_of_their_row() -> None:
    said = reading()
    found = decode(encode(said, layout(states="int8"))).states
    largest = said.states.abs().amax(dim=2, keepdim=True)
    # A step is largest / 127, rounding is off by half of it, and float32 adds a few 2⁻²⁴.
    assert ((found - said.states).abs() <= largest * (1 / 254 + 2**-20)).all()
    assert (found.abs().amax(dim=2, keepdim=True) / largest - 1).abs().max() < 1e-6


def test_int8_keeps_zeros_when_a_row_is_zero() -> None:
    states, scale = to_int8(torch.zeros(3, 2, 8))
    assert not states.any()
    assert not scale.any()


def test_scores_are_kept_from_the_best_down_less_the_best() -> None:
    said = reading()
    found = decode(encode(said, layout()))
    best = said.scores.sort(dim=1, descending=True)
    assert torch.equal(found.top_items, best.indices[:, :3])
    expected = best.values[:, :3] - best.values[:, :1]
    assert not found.top_scores[:, 0].any()
    assert ((found.top_scores - expected).abs() <= 2**-11 * expected.abs() + 2**-25).all()


def test_scores_stay_finite_when_the_teacher_rules_items_out() -> None:
    scores = torch.tensor([[-torch.inf, 2.0, -torch.inf, -torch.inf]])
    found = decode(encode(Reading(torch.zeros(1, 2, 8), scores), layout()))
    assert found.top_scores[0].tolist() == [0, LOWEST, LOWEST]
    assert found.top_scores.softmax(dim=1)[0].tolist() == [1, 0, 0]


def test_tail_is_the_probability_of_what_is_not_kept() -> None:
    weights = torch.tensor([[0.0, 1.0, 4.0, 2.0, 3.0]])  # of them 4, 3 and 2 are kept
    found = decode(encode(Reading(torch.zeros(1, 2, 8), weights.log()), layout()))
    assert found.tail.item() == pytest.approx(math.log(10 / 9), abs=1e-6)
    assert 1 - math.exp(-found.tail.item()) == pytest.approx(0.1, abs=1e-6)


def test_tail_is_zero_when_every_item_is_kept() -> None:
    tail = decode(encode(reading(items=3), layout())).tail
    assert (tail >= 0).all()
    assert tail.max() < 1e-5


def test_attention_sums_to_one_and_is_off_by_at_most_float16() -> None:
    said = reading()
    found = decode(encode(said, layout(attention=True))).attention
    assert said.attention is not None
    assert found is not None
    torch.testing.assert_close(found.sum(dim=2), torch.ones(50, 2), atol=1e-6, rtol=0)
    # Once for the weight and once for the sum that it is divided by.
    assert ((found - said.attention).abs() <= 2 * 2**-11 * said.attention + 1e-7).all()


def test_attention_is_none_when_it_was_not_kept() -> None:
    assert decode(encode(reading(), layout())).attention is None


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_teacher_is_refused_when_it_says_what_is_not_finite(value: float) -> None:
    states, scores = torch.zeros(1, 2, 8), torch.tensor([[-torch.inf, 1.0, 2.0, 3.0]])
    broken = states.clone()
    broken[0, 1, 3] = value
    for said in (Reading(broken, scores), Reading(states, scores.clone().fill_(value))):
        with pytest.raises(SlmrecError, match="not finite"):
            encode(said, layout())
