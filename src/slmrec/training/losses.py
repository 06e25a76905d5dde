"""What is minimised against the catalogue, each a mean over positions."""

from typing import Any

import torch
from torch import Tensor


class _LinearCrossEntropy(torch.autograd.Function):
    """Cross-entropy of `states @ table.T` whose gradients are made while the scores exist.

    Scores live for one block of positions at a time, so memory does not grow with the batch.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        targets: Tensor,
        weights: Tensor,  # they sum to 1
        block: int,
        dtype: torch.dtype,
    ) -> Tensor:
        count = states.shape[0]
        table_typed, states_typed = table.to(dtype), states.to(dtype)
        state_gradient = torch.empty_like(states)
        table_gradient = torch.zeros_like(table)
        total = states.new_zeros(())
        for low in range(0, count, block):
            part, target = states_typed[low : low + block], targets[low : low + block, None]
            weight = weights[low : low + block, None]
            scores = (part @ table_typed.T).float()  # [block, items]
            scores -= scores.amax(dim=1, keepdim=True)
            picked = scores.gather(1, target)
            probability = scores.exp_()
            normaliser = probability.sum(dim=1, keepdim=True)
            total += (weight * (normaliser.log() - picked)).sum()
            probability *= weight / normaliser
            probability.scatter_add_(1, target, -weight)
            gradient = probability.to(dtype)
            state_gradient[low : low + block] = gradient @ table_typed
            table_gradient += gradient.T @ part
        ctx.save_for_backward(state_gradient, table_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        state_gradient, table_gradient = ctx.saved_tensors
        return outputs[0] * state_gradient, outputs[0] * table_gradient, None, None, None, None


def linear_cross_entropy(
    states: Tensor,
    table: Tensor,
    targets: Tensor,
    max_logit_mib: int = 64,
    dtype: torch.dtype = torch.float32,
    weights: Tensor | None = None,
) -> Tensor:
    """Full-softmax cross-entropy over the catalogue without holding all its scores.

    `states` float32 [positions, width]; `table` float32 [items + 1, width], row 0 is padding and
    takes no part; `targets` int64 [positions], 1 … items. Matrix products in `dtype`, the softmax in
    float32; at most `max_logit_mib` MiB of scores exist at once. Returns the mean over positions, a
    scalar; `weights` float32 [positions] make it a weighted mean.
    """
    if weights is None:
        weights = torch.ones_like(targets, dtype=torch.float32)
    block = max(max_logit_mib * 2**20 // (4 * (table.shape[0] - 1)), 1)
    loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        states, table[1:], targets - 1, weights / weights.sum(), block, dtype
    )
    return loss
