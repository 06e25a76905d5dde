import pytest
from torch import nn

from slmrec.config import Training
from slmrec.training.optimizer import one_cycle, parameter_groups


def test_only_matrices_are_decayed() -> None:
    module = nn.ModuleDict(
        {"table": nn.Embedding(5, 4), "linear": nn.Linear(4, 3), "norm": nn.LayerNorm(3)}
    )
    decayed, others = parameter_groups(module, Training(weight_decay=0.1))
    assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(3, 4)]
    assert [tuple(p.shape) for p in others["params"]] == [(5, 4), (3,), (3,), (3,)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    rate = one_cycle(2.0, steps=10, warmup_share=0.4)
    rates = [rate(step) for step in range(11)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0
    assert rates[7] == pytest.approx(1.0)  # half-way from step 4 to 10
    assert rates[10] == pytest.approx(0.0)
    assert rate(25) == pytest.approx(0.0)
