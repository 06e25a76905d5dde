import math

import pytest
import torch

from slmrec.models.dropout import Dropout

STEPS = 2**16


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chance", [0.05, 0.3, 0.5])
def test_a_share_is_dropped_and_the_rest_scaled(chance, dtype):
    count = 200_003  # no multiple of four
    found = Dropout(chance)(torch.ones(count, dtype=dtype))
    dropped = int((found == 0).sum())
    assert abs(dropped - count * chance) < 5 * math.sqrt(count * chance * (1 - chance))
    scale = STEPS / (STEPS - round(chance * STEPS))
    kept = found[found != 0]
    assert torch.equal(kept, torch.full_like(kept, scale))


def test_gradients_go_where_entries_stayed():
    entering = torch.randn(7, 5, requires_grad=True)
    out = Dropout(0.5)(entering)
    out.sum().backward()
    assert torch.equal(entering.grad != 0, out != 0)
    assert out.detach() == pytest.approx(entering.detach() * entering.grad)


def test_the_same_entries_are_dropped_when_the_seed_is_the_same():
    entering = torch.ones(3, 1000)
    first, second = Dropout(0.3)(entering), Dropout(0.3)(entering)
    torch.manual_seed(0)
    assert torch.equal(Dropout(0.3)(entering), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("chance", [0.0, 0.4])
def test_nothing_is_dropped_when_nobody_trains(chance):
    entering = torch.randn(100)
    assert torch.equal(Dropout(chance).eval()(entering), entering)
    assert torch.equal(Dropout(0.0)(entering), entering)


def test_entries_are_dropped_independently():
    # The four entries of one drawn number must not fall together: of two neighbours p² fall.
    found = Dropout(0.5)(torch.ones(100_000, 4)) == 0
    for one in range(4):
        for other in range(one):
            together = (found[:, one] & found[:, other]).float().mean().item()
            assert together == pytest.approx(0.25, abs=0.01)
