import math

import pytest
import torch
from torch.nn import functional as F

from slmrec.training import losses
from slmrec.training.losses import SoftTargets, linear_cross_entropy, soft_cross_entropy


def test_cross_entropy_is_the_log_of_the_softmax_when_scores_are_known() -> None:
    states = torch.tensor([[1.0, 0.0]])
    table = torch.tensor([[9.0, 9.0], [math.log(3), 0.0], [0.0, 5.0]])  # row 0 is padding
    # scores log 3 and 0: probabilities 3/4 and 1/4
    first = linear_cross_entropy(states, table, torch.tensor([1]))
    second = linear_cross_entropy(states, table, torch.tensor([2]))
    assert first.item() == pytest.approx(math.log(4 / 3), abs=1e-6)
    assert second.item() == pytest.approx(math.log(4), abs=1e-6)


@pytest.mark.parametrize("max_logit_mib", [1, 64])
def test_value_and_gradients_equal_torch_when_scores_are_made_in_blocks(max_logit_mib: int) -> None:
    torch.manual_seed(0)
    states = torch.randn(
        700, 8, requires_grad=True
    )  # 1 MiB holds 327 rows of 400 scores and their softmax
    table = torch.randn(401, 8, requires_grad=True)
    targets = torch.randint(1, 401, (700,))
    loss = linear_cross_entropy(states, table, targets, max_logit_mib)
    (2 * loss).backward()
    ours = loss.item(), states.grad.clone(), table.grad.clone()
    states.grad = table.grad = None
    expected = F.cross_entropy(states @ table[1:].T, targets - 1)
    (2 * expected).backward()
    assert ours[0] == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours[1], states.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(ours[2], table.grad, atol=1e-6, rtol=1e-4)
    assert ours[2][0].abs().max() == 0  # padding is neither scored nor moved


@pytest.mark.parametrize("max_logit_mib", [1, 64])
def test_gradients_equal_torch_when_a_temperature_softens_both_sides(max_logit_mib: int) -> None:
    torch.manual_seed(0)
    states = torch.randn(400, 8, requires_grad=True)
    table = torch.randn(1201, 8, requires_grad=True)
    targets = torch.randint(1, 1201, (400,))
    items = torch.stack([torch.randperm(1200)[:5] + 1 for _ in range(400)])
    soft = SoftTargets(items, torch.randn(400, 5), temperature=2.0)
    hard, far = soft_cross_entropy(states, table, targets, soft, max_logit_mib)
    ours = torch.autograd.grad(hard + far, [states, table])
    scores = states @ table[1:].T
    believed = torch.zeros(400, 1200).scatter(1, items - 1, (soft.scores / 2).softmax(dim=1))
    expected = F.cross_entropy(scores, targets - 1) + 4 * F.kl_div(
        F.log_softmax(scores / 2, dim=1), believed, reduction="batchmean"
    )
    assert (hard + far).item() == pytest.approx(expected.item(), rel=1e-5)
    for mine, theirs in zip(ours, torch.autograd.grad(expected, [states, table]), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def test_weights_make_the_loss_a_weighted_mean() -> None:
    torch.manual_seed(0)
    states = torch.randn(6, 4, requires_grad=True)
    table, targets = torch.randn(8, 4), torch.tensor([1, 2, 3, 4, 5, 6])
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 3.0])
    loss = linear_cross_entropy(states, table, targets, weights=weights)
    loss.backward()
    ours, states.grad = states.grad.clone(), None
    each = F.cross_entropy(states @ table[1:].T, targets - 1, reduction="none")
    expected = (weights * each).sum() / weights.sum()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours, states.grad, atol=1e-6, rtol=1e-4)
    assert ours[1].abs().max() == 0


def test_bfloat16_products_stay_near_float32() -> None:
    torch.manual_seed(0)
    states, table = torch.randn(64, 16) * 0.3, torch.randn(50, 16) * 0.3
    targets = torch.randint(1, 50, (64,))
    exact = linear_cross_entropy(states, table, targets)
    rounded = linear_cross_entropy(states, table, targets, dtype=torch.bfloat16)
    assert rounded.item() == pytest.approx(exact.item(), rel=5e-3)


def test_bfloat16_products_leave_the_pull_of_the_target_exact() -> None:
    torch.manual_seed(0)
    states, table = torch.randn(64, 16, requires_grad=True), torch.randn(2000, 16) * 0.01
    targets = torch.randint(1, 2000, (64,))
    linear_cross_entropy(states, table, targets, dtype=torch.bfloat16).backward()
    ours, states.grad = states.grad.clone(), None
    F.cross_entropy(states @ table[1:].T, targets - 1).backward()
    # The pull of all items together is small here; that of the target rounded would be 0.2 % off.
    assert (ours - states.grad).norm() < 5e-4 * states.grad.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_target_that_is_out_of_the_question_still_pulls(dtype: torch.dtype) -> None:
    states = torch.tensor([[1.0]], requires_grad=True)
    table = torch.tensor([[0.0], [200.0], [0.0]])  # item 2 has the probability e^-200
    loss = linear_cross_entropy(states, table, torch.tensor([2]), dtype=dtype)
    loss.backward()
    assert 80 < loss.item() < 100  # what float32 can tell of it
    assert states.grad.item() == pytest.approx(200.0)


def two_items() -> tuple[torch.Tensor, torch.Tensor]:
    """A state and a table under which item 1 has the probability 3/4 and item 2 1/4."""
    return torch.tensor([[1.0]]), torch.tensor([[7.0], [math.log(3)], [0.0]])


def test_divergence_equals_hand_arithmetic_over_two_items() -> None:
    states, table = two_items()
    soft = SoftTargets(torch.tensor([[2, 1]]), torch.tensor([[0.0, 0.0]]), temperature=1.0)
    hard, divergence = soft_cross_entropy(states, table, torch.tensor([1]), soft)
    assert hard.item() == pytest.approx(math.log(4 / 3), abs=1e-6)
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert divergence.item() == pytest.approx(expected, abs=1e-6)


def test_divergence_counts_what_the_student_gives_to_other_items() -> None:
    states, table = two_items()
    soft = SoftTargets(torch.tensor([[2]]), torch.tensor([[0.0]]), temperature=1.0)
    _, divergence = soft_cross_entropy(states, table, torch.tensor([1]), soft)
    assert divergence.item() == pytest.approx(math.log(4), abs=1e-6)  # −log 1/4


def test_temperature_softens_both_sides_and_its_square_multiplies() -> None:
    states, table = two_items()
    soft = SoftTargets(torch.tensor([[1, 2]]), torch.tensor([[math.log(9), 0.0]]), temperature=2.0)
    _, divergence = soft_cross_entropy(states, table, torch.tensor([1]), soft)
    student = math.sqrt(3) / (1 + math.sqrt(3))  # of item 1
    expected = 0.75 * math.log(0.75 / student) + 0.25 * math.log(0.25 / (1 - student))
    assert divergence.item() == pytest.approx(4 * expected, abs=1e-6)


@pytest.mark.parametrize("factors", [(1.0, 1.0), (2.0, 2.0), (0.0, 1.0), (3.0, 0.5)])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_both_terms_and_their_gradients_equal_torch(
    temperature: float, factors: tuple[float, float]
) -> None:
    torch.manual_seed(0)
    states = torch.randn(700, 8, requires_grad=True)
    table = torch.randn(401, 8, requires_grad=True)
    targets, weights = torch.randint(1, 401, (700,)), torch.rand(700)
    items = torch.rand(700, 400).topk(5).indices + 1
    soft = SoftTargets(items, torch.randn(700, 5), temperature)
    terms = soft_cross_entropy(states, table, targets, soft, 1, weights=weights, scales=(0.5, 1.5))
    (factors[0] * terms[0] + factors[1] * terms[1]).backward()
    ours = states.grad.clone(), table.grad.clone()
    states.grad = table.grad = None
    scores = states @ table[1:].T
    each = F.cross_entropy(scores, targets - 1, reduction="none")
    teacher = torch.zeros(700, 400).scatter(1, items - 1, (soft.scores / temperature).softmax(1))
    student = F.log_softmax(scores / temperature, dim=1)
    expected = (
        0.5 * (weights * each).sum() / weights.sum(),
        1.5 * temperature**2 * F.kl_div(student, teacher, reduction="batchmean"),
    )
    (factors[0] * expected[0] + factors[1] * expected[1]).backward()
    for found, right in zip(terms, expected, strict=True):
        assert found.item() == pytest.approx(right.item(), rel=1e-5)
    torch.testing.assert_close(ours[0], states.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(ours[1], table.grad, atol=1e-6, rtol=1e-4)
    assert ours[1][0].abs().max() == 0  # padding is neither scored nor moved


def test_scores_are_made_once_when_the_sum_of_both_terms_is_minimised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scans = []
    scan = losses._scan
    monkeypatch.setattr(losses, "_scan", lambda *a: scans.append(1) or scan(*a))
    states, table = torch.randn(6, 4, requires_grad=True), torch.randn(8, 4)
    soft = SoftTargets(torch.randint(1, 8, (6, 3)), torch.randn(6, 3), 1.0)
    terms = soft_cross_entropy(states, table, torch.randint(1, 8, (6,)), soft)
    (0.3 * torch.stack(terms).sum()).backward()
    assert len(scans) == 1
