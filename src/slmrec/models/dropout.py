"""Dropout whose random numbers cost a CPU little."""

from typing import Any

import torch
from torch import Tensor, nn

_STEPS = 2**16
"""Chances that can be told from one another."""


class Dropout(nn.Dropout):
    """`nn.Dropout`, which draws one number an entry: on a CPU four of torch's own numbers hold 16.

    There the chance is rounded to a multiple of 2⁻¹⁶, and what is kept is scaled by exactly that. The
    numbers come from torch's generator, as those of `nn.Dropout` do.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero some entries and scale the others: any shape → the same."""
        dropped = round(self.p * _STEPS)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < _STEPS:
            return super().forward(input)
        out: Tensor = _Masked.apply(input, _kept(input, dropped), _STEPS / (_STEPS - dropped))  # type: ignore[no-untyped-call]
        return out


def _kept(like: Tensor, dropped: int) -> Tensor:
    """Which entries stay: bool, of the shape of `like`."""
    count = like.numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    # The bits of each number are four of 16 bits, each from -2**15 up.
    return (drawn.view(torch.int16)[:count] >= dropped - _STEPS // 2).view(like.shape)


class _Masked(torch.autograd.Function):
    """`input * kept * scale`, which keeps nothing but a byte an entry for the way back."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return (input * kept).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        return (outputs[0] * kept).mul_(ctx.scale), None, None
