import math

import pytest
import torch

from slmrec.distillation.losses import (
    attention_divergence,
    cosine_loss,
    known_among,
    norm_loss,
    sampled_divergence,
)
from slmrec.training.losses import SoftTargets, soft_cross_entropy


def test_cosine_loss_is_one_minus_the_cosine_averaged() -> None:
    student = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, -3.0]])
    teacher = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    expected = ((1 - 1) + (1 - math.sqrt(0.5)) + (1 + 1)) / 3
    assert cosine_loss(student, teacher).item() == pytest.approx(expected, abs=1e-6)


def test_norm_loss_is_the_squared_distance_a_dimension() -> None:
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    teacher = torch.tensor([[1.0, 4.0], [3.0, 4.0]])
    assert norm_loss(student, teacher).item() == pytest.approx((4 / 2 + 25 / 2) / 2)


def test_attention_divergence_equals_hand_arithmetic_averaged_over_blocks_and_positions() -> None:
    # two positions, one block: the first may look at one place, the second at two
    teacher = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]])
    student = torch.tensor([[[1.0, 0.0]], [[0.75, 0.25]]])
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    found = attention_divergence(student, teacher)
    assert found.item() == pytest.approx((0 + expected) / 2, abs=1e-6)


def test_attention_divergence_and_its_gradient_are_finite_when_the_student_looks_away() -> None:
    logits = torch.tensor([[[0.0, 200.0]]], requires_grad=True)
    loss = attention_divergence(logits.softmax(dim=-1), torch.tensor([[[1.0, 0.0]]]))
    loss.backward()
    assert loss.item() == pytest.approx(30 * math.log(10), rel=1e-4)  # −log 1e-30
    assert torch.isfinite(logits.grad).all()


def sampled_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, SoftTargets]:
    """Five states over 20 items; the second target is one of the teacher's three items."""
    torch.manual_seed(0)
    states, table = torch.randn(5, 4, requires_grad=True), torch.randn(21, 4)
    items = torch.rand(5, 20).topk(3).indices + 1
    targets = torch.randint(1, 21, (5,))
    targets[1] = items[1, 2]
    return states, table, targets, SoftTargets(items, torch.randn(5, 3), temperature=1.5)


def test_sampled_divergence_is_the_full_one_when_every_item_is_drawn_once() -> None:
    states, table, targets, soft = sampled_case()
    negatives, log_q = torch.randperm(20) + 1, torch.zeros(21)
    found = sampled_divergence(states, table, targets, soft, negatives, log_q, torch.float32)
    found.backward()
    gradient, states.grad = states.grad, None
    _, expected = soft_cross_entropy(states, table, targets, soft)
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient, states.grad, atol=1e-6, rtol=1e-4)


def test_sampled_divergence_lets_a_drawn_item_stand_for_those_that_were_not() -> None:
    table = torch.zeros(9, 1)  # all 8 items have the same score
    soft = SoftTargets(torch.tensor([[3]]), torch.tensor([[0.0]]), temperature=1.0)
    # Item 5 twice and item 3, which is known already; each is expected in half of the draws.
    negatives, log_q = torch.tensor([5, 3, 5]), torch.full((9,), math.log(0.5))
    found = sampled_divergence(
        torch.ones(1, 1), table, torch.tensor([2]), soft, negatives, log_q, torch.float32
    )
    # items 3 and 2 count once, item 5 2 · 2 times
    assert found.item() == pytest.approx(math.log(1 + 1 + 4), abs=1e-6)


def test_known_items_are_found_among_the_drawn() -> None:
    drawn, known = torch.tensor([2, 5, 7]), torch.tensor([[7, 1], [2, 5], [3, 4]])
    assert known_among(drawn, known, 8).tolist() == [
        [False, False, True],
        [True, True, False],
        [False, False, False],
    ]
