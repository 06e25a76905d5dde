import torch

from slmrec.models.attention import attend


def parts() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 2, 5, 4, generator=generator) for _ in range(3)]


def by_hand(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    scores = query @ key.transpose(2, 3) / 4**0.5
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1) @ value


def test_equals_the_formula_with_and_without_a_mask():
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    torch.testing.assert_close(attend(*parts(), None), by_hand(*parts()))
    torch.testing.assert_close(attend(*parts(), mask), by_hand(*parts()))


def test_only_what_enters_and_leaves_is_rounded_in_low_precision():
    rounded = [part.bfloat16() for part in parts()]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attend(*rounded, None)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed, by_hand(*(part.float() for part in rounded)).bfloat16())


def test_gradients_reach_low_precision_inputs():
    inputs = [part.bfloat16().requires_grad_() for part in parts()]
    with torch.autocast("cpu", torch.bfloat16):
        attend(*inputs, None).float().sum().backward()
    whole = [part.bfloat16().float().requires_grad_() for part in parts()]
    by_hand(*whole).sum().backward()
    for low, full in zip(inputs, whole, strict=True):
        torch.testing.assert_close(low.grad.float(), full.grad, atol=2e-2, rtol=2e-2)
