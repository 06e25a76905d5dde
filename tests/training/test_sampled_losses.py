import math

import pytest
import torch
from torch.nn import functional as F

from slmrec.training.sampled_losses import gbce_loss, sampled_softmax_loss


def some(positions: int, items: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, table and targets; row 0 of the table would dominate if it took part."""
    torch.manual_seed(3)
    table = torch.randn(items + 1, 4)
    table[0] = 100.0
    return torch.randn(positions, 4), table, torch.randint(1, items + 1, (positions,))


def test_sampled_softmax_is_the_full_one_when_every_item_is_drawn() -> None:
    states, table, targets = some(6, 9)
    states.requires_grad_()
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
    every = torch.arange(1, 10)
    found = sampled_softmax_loss(states, table, targets, every, torch.zeros(10), weights)
    found.backward()
    gradient, states.grad = states.grad.clone(), None
    each = F.cross_entropy(states @ table[1:].T, targets - 1, reduction="none")
    expected = (weights * each).sum() / weights.sum()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient, states.grad, atol=1e-6, rtol=1e-4)


def test_sampled_softmax_equals_hand_arithmetic() -> None:
    # scores: target 1 → log 2, item 2 → log 3, item 3 → log 5; expected counts 1/2, 1/4, 1
    table = torch.tensor([[0.0], [math.log(2)], [math.log(3)], [math.log(5)]])
    log_q = torch.tensor([0.0, 0.5, 0.25, 1.0]).log()
    found = sampled_softmax_loss(
        torch.ones(1, 1), table, torch.tensor([1]), torch.tensor([2, 3, 1]), log_q, torch.ones(1)
    )
    # 2 / ½ against 3 / ¼ and 5 / 1; the negative that is the target does not count
    assert found.item() == pytest.approx(-math.log(4 / (4 + 12 + 5)), rel=1e-5)


def test_corrected_negatives_sum_to_the_catalogue_on_average() -> None:
    states, table, _ = some(1, 30)
    target = torch.tensor([7])
    q = torch.softmax(torch.linspace(0, 2, 30), dim=0)
    draws, count = 3000, 12
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(q, draws * count, replacement=True, generator=generator) + 1
    log_q = torch.cat((torch.zeros(1), (count * q).log()))
    own = (states @ table[7]).item()
    estimates = []
    for negatives in drawn.view(draws, count):
        loss = sampled_softmax_loss(states, table, target, negatives, log_q, torch.ones(1)).item()
        # loss = log(1 + S / p): S is the sum over the negatives, p the target's corrected share
        estimates.append(math.expm1(loss) * math.exp(own - log_q[7].item()))
    found = torch.tensor(estimates)
    others = (states @ table[1:].T).exp().sum().item() - math.exp(own)
    error = found.std().item() / math.sqrt(draws)
    assert error < 0.05 * others
    assert abs(found.mean().item() - others) < 4 * error


def test_gbce_equals_hand_arithmetic() -> None:
    # scores: target 1 → 1, items 2 … 5 → 0.5, -1, 2, 0; two of five items are drawn
    table = torch.tensor([[9.0], [1.0], [0.5], [-1.0], [2.0], [0.0]])
    found = gbce_loss(
        torch.ones(1, 1), table, torch.tensor([1]), torch.tensor([2, 4]), 0.75, torch.ones(1)
    )
    alpha = 2 / 5
    beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)

    def chance(score: float) -> float:  # odds of exp(score) to one for each of five items
        return math.exp(score) / (math.exp(score) + 5)

    terms = [math.log(chance(1) ** beta), math.log(1 - chance(0.5)), math.log(1 - chance(2))]
    assert found.item() == pytest.approx(-sum(terms) / 3, rel=1e-5)


def test_gbce_is_plain_binary_cross_entropy_when_nothing_is_calibrated() -> None:
    states, table, _ = some(1, 6)
    negatives = torch.tensor([2, 5])
    found = gbce_loss(states, table, torch.tensor([3]), negatives, 0.0, torch.ones(1))
    scores = states @ table[[3, 2, 5]].T - math.log(len(table) - 1)
    expected = F.binary_cross_entropy_with_logits(scores, torch.tensor([[1.0, 0.0, 0.0]]))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_negative_that_is_the_target_does_not_count_in_gbce() -> None:
    states, table, targets = some(1, 6)
    without = torch.tensor([item for item in (1, 2, 3, 4) if item != targets.item()])
    with_it = torch.cat((without, targets))
    # the share of the catalogue that is drawn differs, so nothing is calibrated
    losses = [
        gbce_loss(states, table, targets, negatives, 0.0, torch.ones(1))
        for negatives in (without, with_it)
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)


def test_losses_and_gradients_are_finite_when_scores_are_extreme() -> None:
    states = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    table = torch.tensor([[0.0], [300.0], [-300.0], [250.0]])
    targets, negatives = torch.tensor([1, 1]), torch.tensor([2, 3, 1])
    for loss in (
        gbce_loss(states, table, targets, negatives, 0.75, torch.ones(2)),
        sampled_softmax_loss(states, table, targets, negatives, torch.zeros(4), torch.ones(2)),
    ):
        states.grad = None
        loss.backward()
        assert loss.isfinite()
        assert states.grad.isfinite().all()


def test_bfloat16_products_stay_near_float32() -> None:
    states, table, targets = some(50, 40)
    negatives, weights = torch.arange(1, 20), torch.ones(50)
    log_q = torch.zeros(41)
    exact = sampled_softmax_loss(states, table, targets, negatives, log_q, weights)
    rounded = sampled_softmax_loss(
        states, table, targets, negatives, log_q, weights, torch.bfloat16
    )
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-2)
