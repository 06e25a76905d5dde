import pytest
import torch

from slmrec.models.rotary import rotate, rotation

POSITIONS = torch.tensor([[0, 1, 2], [5, 0, 40]])


def by_complex_numbers(x: torch.Tensor) -> torch.Tensor:
    """Pairs (j, j + half) as complex numbers, each turned by position · theta^(-2j / width)."""
    half = x.shape[-1] // 2
    angle = POSITIONS[:, None, :, None] * 100.0 ** -(torch.arange(half) / half)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.exp(1j * angle)
    return torch.cat((turned.real, turned.imag), dim=-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pairs_are_turned_by_their_positions(dtype):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 8).to(dtype)
    found = rotate(x, rotation(POSITIONS, 8, 100.0))
    assert found.dtype == dtype
    torch.testing.assert_close(found, by_complex_numbers(x.float()).to(dtype))


def test_gradients_are_turned_back():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 8, requires_grad=True)
    weights = torch.randn(2, 4, 3, 8)
    (expected,) = torch.autograd.grad((weights * by_complex_numbers(x)).sum(), x)
    (found,) = torch.autograd.grad((weights * rotate(x, rotation(POSITIONS, 8, 100.0))).sum(), x)
    torch.testing.assert_close(found, expected)


def test_memory_that_is_not_in_one_piece_is_turned_too():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 12, 8).transpose(1, 2)[:, 4:8]  # as the queries of a joint product lie
    torch.testing.assert_close(
        rotate(x, rotation(POSITIONS, 8, 100.0)), by_complex_numbers(x.contiguous())
    )
