import math

import pytest
import torch
from torch.nn import functional as F

from slmrec.training.losses import linear_cross_entropy


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
    states = torch.randn(700, 8, requires_grad=True)  # 1 MiB holds 655 rows of 400 scores
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
