"""What is minimised against the catalogue, each a mean over positions."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

SMALLEST = torch.finfo(torch.float32).tiny
BLOCK_BYTES, ENOUGH_ROWS = 16 * 2**20, 256
"""Of a block of scores: larger ones were slower on a CPU, and so were products of fewer rows
(benchmarks/training_step.py)."""


@dataclass(frozen=True)
class SoftTargets:
    """What a teacher believes comes next, on the K items that it thinks likeliest."""

    items: Tensor
    """int64 [positions, K], 1 … items."""
    scores: Tensor
    """float32 [positions, K]: its logits, up to a constant in each row."""
    temperature: float
    """Divides the logits of both sides."""

    def shares(self) -> Tensor:
        """Probabilities of the K items among themselves: float32 [positions, K]."""
        return (self.scores / self.temperature).softmax(dim=1)


@dataclass(frozen=True)
class _Terms:
    """The two cross-entropies of a scan, and what each position counts in them."""

    targets: Tensor  # [positions], the first item is 0
    weights: Tensor  # [positions]
    items: Tensor | None = None  # [positions, K], the first item is 0
    shares: Tensor | None = None  # [positions, K]
    temperature: float = 1.0
    soft_weight: float = 0.0  # of each position

    def scaled(self, hard: float, soft: float) -> "_Terms":
        return replace(self, weights=hard * self.weights, soft_weight=soft * self.soft_weight)


def _scan(
    states: Tensor, table: Tensor, terms: _Terms, block: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both terms, and the gradients of their sum with regard to states and table, padding included.

    Scores live for one block of positions at a time, each block in the memory of the one before but
    where a temperature asks for two softmaxes: memory does not grow with the batch, and new pages,
    which cost as much as the products, are asked for once. Beside them are four arrays as large as the
    table. What pulls towards the target itself is added in float32, outside the products: exact, and no
    pass over scores. A share below `SMALLEST` counts as that in the terms, not in their gradients.
    """
    table_gradient = torch.empty_like(table)
    table_gradient[0] = 0
    table = table[1:]
    typed = table.to(dtype)
    # [width, items]: products are faster where both sides are read along rows.
    across = typed.T.contiguous()
    across_gradient = torch.zeros_like(across, dtype=torch.float32)
    state_gradient = torch.empty_like(states)
    hard, soft = states.new_zeros(()), states.new_zeros(())
    block = max(min(block, states.shape[0]), 1)
    product = states.new_empty((block, table.shape[0]), dtype=dtype)
    exact = product
    if terms.items is not None and dtype != torch.float32:
        exact = torch.empty_like(product, dtype=torch.float32)
    for low in range(0, states.shape[0], block):
        rows = slice(low, low + block)
        part, target = states[rows], terms.targets[rows]
        weight = terms.weights[rows, None]
        scores = product[: len(part)]  # [block, items]
        torch.mm(part.to(dtype), across, out=scores)
        if terms.items is None or terms.shares is None:
            gradient, scale = torch.softmax(scores, dim=1, out=scores), weight
            logs = _logs(gradient, target[:, None])
        else:
            items, believed = terms.items[rows], terms.shares[rows]
            slope = terms.soft_weight / terms.temperature
            shares = exact[: len(part)]
            if exact is not product:
                shares.copy_(scores)
            plain = None if terms.temperature == 1 else shares.softmax(dim=1)
            torch.softmax(shares.div_(terms.temperature), dim=1, out=shares)
            soft -= terms.soft_weight * (believed * _logs(shares, items)).sum()
            logs = _logs(shares if plain is None else plain, target[:, None])
            if plain is None:  # one softmax serves both terms
                scale = weight + slope
            else:
                scale = torch.ones_like(weight)
                shares.mul_(slope).add_(plain.mul_(weight))
            shares.scatter_add_(1, items, -slope / scale.clamp_min(SMALLEST) * believed)
            gradient = shares if exact is product else scores.copy_(shares)
        hard -= (weight * logs).sum()
        state_gradient[rows] = scale * (gradient @ typed).float() - weight * table[target]
        across_gradient += (scale * part).to(dtype).T.contiguous() @ gradient
    table_gradient[1:] = across_gradient.T
    table_gradient.index_add_(0, terms.targets + 1, -terms.weights[:, None] * states)
    return hard, soft, state_gradient, table_gradient


def _logs(shares: Tensor, columns: Tensor) -> Tensor:
    return shares.gather(1, columns).float().clamp_min(SMALLEST).log()


class _LinearCrossEntropy(torch.autograd.Function):
    """Cross-entropies of `states @ table[1:].T` whose gradients are made while the scores exist."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, terms: _Terms, block: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        hard, soft, *gradients = _scan(states, table, terms, block, dtype)
        ctx.save_for_backward(states, table, *gradients)
        ctx.terms, ctx.block, ctx.dtype = terms, block, dtype
        return hard, soft

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        states, table, state_gradient, table_gradient = ctx.saved_tensors
        hard, soft = outputs
        if ctx.terms.items is not None and not torch.equal(hard, soft):
            # The gradients at hand are those of the plain sum, which is what a training minimises.
            terms = ctx.terms.scaled(float(hard), float(soft))
            *_, state_gradient, table_gradient = _scan(states, table, terms, ctx.block, ctx.dtype)
            hard = torch.ones_like(hard)
        if hard.device.type != "cpu" or hard != 1:  # to look costs a GPU more than to multiply
            state_gradient, table_gradient = hard * state_gradient, hard * table_gradient
        return state_gradient, table_gradient, None, None, None


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
    terms = _Terms(targets - 1, _normalised(targets, weights))
    block = _block(table, max_logit_mib, dtype.itemsize)
    loss: Tensor
    loss, _ = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        states, table, terms, block, dtype
    )
    return loss


def soft_cross_entropy(
    states: Tensor,
    table: Tensor,
    targets: Tensor,
    soft: SoftTargets,
    max_logit_mib: int = 64,
    dtype: torch.dtype = torch.float32,
    weights: Tensor | None = None,
    scales: tuple[float, float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """`linear_cross_entropy`, and how far the softmax is from a teacher's, from the same scores.

    The second term is KL(teacher ‖ student), its teacher renormalised on the K items of `soft`, its
    student a softmax over the whole catalogue: what the student gives to other items counts against
    it. Both sides have the temperature of `soft`; the term is multiplied by its square, so that the
    gradient's size does not depend on it (Hinton et al., arXiv 1503.02531). A plain mean over
    positions: `weights` concern the first term alone.

    `scales` multiply the two terms. They are asked for here because the gradients of the sum come at
    the price of one term, and those of any other combination at twice that.
    """
    shares = soft.shares()
    soft_weight = scales[1] * soft.temperature**2 / len(targets)
    terms = _Terms(
        targets - 1,
        scales[0] * _normalised(targets, weights),
        soft.items - 1,
        shares,
        soft.temperature,
        soft_weight,
    )
    # Products, their softmax in float32 and, with a temperature, another one.
    bytes_each = dtype.itemsize if dtype == torch.float32 else dtype.itemsize + 4
    block = _block(table, max_logit_mib, bytes_each if soft.temperature == 1 else bytes_each + 4)
    hard, crossed = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        states, table, terms, block, dtype
    )
    return hard, crossed + soft_weight * torch.xlogy(shares, shares).sum()


def _normalised(targets: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        weights = torch.ones_like(targets, dtype=torch.float32)
    return weights / weights.sum()


def _block(table: Tensor, max_logit_mib: int, bytes_each: int) -> int:
    """Positions whose scores may exist at once, of so many bytes for each position and item.

    On a CPU as few as make large products, since what is small is still in its cache when it is read
    again; never more than asked for.
    """
    row = bytes_each * (table.shape[0] - 1)
    most = max(max_logit_mib * 2**20 // row, 1)
    return min(max(BLOCK_BYTES // row, ENOUGH_ROWS), most) if table.device.type == "cpu" else most
