"""Rotary positions (Su et al., arXiv 2104.09864), in the halves that Llama pairs."""

from typing import Any

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of the positions, each float32 [batch, 1, length, head width / 2]."""


def rotation(positions: Tensor, head_width: int, theta: float) -> Rotation:
    """Angles of positions: int64 [batch, length] → cosines and sines."""
    exponent = torch.arange(0, head_width, 2, dtype=torch.float32, device=positions.device)
    angle = positions[..., None].float() * theta ** -(exponent / head_width)
    angle = angle[:, None]  # [batch, 1, length, head width / 2]
    return angle.cos(), angle.sin()


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn queries or keys [batch, heads, length, head width], in float32, by their positions."""
    turned: Tensor = _Rotate.apply(x.float(), *by)  # type: ignore[no-untyped-call]
    return turned.to(x.dtype)


def _turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    out = torch.empty_like(x)
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    torch.mul(first, cosine, out=out[..., :half]).addcmul_(second, sine, value=-1)
    torch.mul(second, cosine, out=out[..., half:]).addcmul_(first, sine)
    return out


class _Rotate(torch.autograd.Function):
    """A rotation, whose gradient is turned back: nothing of what was turned is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turned(x, cosine, sine)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        cosine, sine = ctx.saved_tensors
        return _turned(outputs[0], cosine, -sine), None, None
