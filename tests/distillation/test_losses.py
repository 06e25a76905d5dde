import math

import pytest
import torch

from slmrec.distillation.losses import cosine_loss, norm_loss, top_k_divergence


def test_cosine_loss_is_one_minus_the_cosine_averaged() -> None:
    student = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, -3.0]])
    teacher = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    expected = ((1 - 1) + (1 - math.sqrt(0.5)) + (1 + 1)) / 3
    assert cosine_loss(student, teacher).item() == pytest.approx(expected, abs=1e-6)


def test_norm_loss_is_the_squared_distance_a_dimension() -> None:
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    teacher = torch.tensor([[1.0, 4.0], [3.0, 4.0]])
    assert norm_loss(student, teacher).item() == pytest.approx((4 / 2 + 25 / 2) / 2)


def test_divergence_is_zero_when_the_student_scores_as_the_teacher() -> None:
    torch.manual_seed(0)
    states, table = torch.randn(5, 4), torch.randn(9, 4)
    best = (states @ table[1:].T).topk(3)
    found = top_k_divergence(states, table, best.indices + 1, best.values + 7.0, 1.0)
    assert found.item() == pytest.approx(0.0, abs=1e-6)


def test_divergence_equals_hand_arithmetic_over_two_items() -> None:
    states = torch.tensor([[1.0]])
    table = torch.tensor([[0.0], [math.log(3)], [0.0]])  # student: 3/4 and 1/4
    teacher = torch.tensor([[0.0, 0.0]])  # 1/2 and 1/2
    found = top_k_divergence(states, table, torch.tensor([[1, 2]]), teacher, 1.0)
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert found.item() == pytest.approx(expected, abs=1e-6)
