import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from slmrec.config import Training
from slmrec.training.optimizer import AdamW, ParameterGroup, one_cycle, parameter_groups


def test_only_matrices_are_decayed() -> None:
    module = nn.ModuleDict(
        {"table": nn.Embedding(5, 4), "linear": nn.Linear(4, 3), "norm": nn.LayerNorm(3)}
    )
    decayed, others = parameter_groups(module, Training(weight_decay=0.1))
    assert [tuple(parameter.shape) for parameter in decayed.parameters] == [(3, 4)]
    assert [tuple(p.shape) for p in others.parameters] == [(5, 4), (3,), (3,), (3,)]
    assert (decayed.weight_decay, others.weight_decay) == (0.1, 0.0)


def three_parameters() -> list[nn.Parameter]:
    torch.manual_seed(3)
    return [nn.Parameter(torch.randn(shape)) for shape in ((4, 3), (5,), (2, 2))]


def gradients(step: int) -> list[Tensor | None]:
    """Of three parameters, of which the last one has none before the third step."""
    torch.manual_seed(100 + step)
    found: list[Tensor | None] = [torch.randn(shape) for shape in ((4, 3), (5,), (2, 2))]
    return [*found[:2], found[2] if step >= 2 else None]


def groups_of(parameters: list[nn.Parameter]) -> list[ParameterGroup]:
    return [ParameterGroup(parameters[:1], 0.1), ParameterGroup(parameters[1:], 0.0)]


def test_steps_are_those_of_torch() -> None:
    mine, theirs = three_parameters(), three_parameters()
    optimizer = AdamW(groups_of(mine))
    expected = torch.optim.AdamW(
        [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}],
        fused=True,
    )
    for step, rate in enumerate((0.1, 0.2, 0.05, 0.0)):
        for parameter, other, gradient in zip(mine, theirs, gradients(step), strict=True):
            parameter.grad = other.grad = gradient
        for group in expected.param_groups:
            group["lr"] = rate
        optimizer.step(rate)
        expected.step()
        optimizer.clear_gradients()
        assert [parameter.grad for parameter in mine] == [None] * 3
        for parameter, other in zip(mine, theirs, strict=True):
            assert torch.equal(parameter, other)
    state = expected.state_dict()["state"]
    assert optimizer.moments.keys() == state.keys()
    for number, moments in optimizer.moments.items():
        assert moments.keys() == state[number].keys()
        assert all(torch.equal(moments[name], state[number][name]) for name in moments)


def test_a_group_without_gradients_stays_where_it_is() -> None:
    (parameter, *_) = three_parameters()
    before = parameter.detach().clone()
    optimizer = AdamW([ParameterGroup([], 0.1), ParameterGroup([parameter], 0.1)])
    optimizer.step(0.1)
    assert torch.equal(parameter, before)
    assert optimizer.moments == {}


def test_another_one_goes_on_from_its_moments() -> None:
    once, again = three_parameters(), three_parameters()
    first = AdamW(groups_of(once))
    for step in range(4):
        if step == 2:
            kept = {
                number: {name: tensor.clone() for name, tensor in mine.items()}
                for number, mine in first.moments.items()
            }
            with torch.no_grad():
                for parameter, other in zip(again, once, strict=True):
                    parameter.copy_(other)
            second = AdamW(groups_of(again))
            second.go_on_from(kept)
        for parameter, other, gradient in zip(once, again, gradients(step), strict=True):
            parameter.grad = other.grad = gradient
        first.step(0.1)
        if step >= 2:
            second.step(0.1)
    for parameter, other in zip(once, again, strict=True):
        assert torch.equal(parameter, other)


def test_a_training_does_not_load_the_compiler_of_torch() -> None:
    finished = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys\n"
            "from tests.training.small_training import small_training\n"
            "small_training()\n"
            "sys.exit('torch._dynamo' in sys.modules)",
        ],
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr


def test_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    rate = one_cycle(2.0, steps=10, warmup_share=0.4)
    rates = [rate(step) for step in range(11)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0
    assert rates[7] == pytest.approx(1.0)  # half-way from step 4 to 10
    assert rates[10] == pytest.approx(0.0)
    assert rate(25) == pytest.approx(0.0)
