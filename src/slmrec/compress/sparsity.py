"""Sparse weights: single entries go, and the matrices keep their shape.

That makes a model smaller on disk only where zeros are packed, and faster only in a runtime that has
kernels for them; ONNX Runtime on a CPU has none. Which entries go is decided by what they weigh on real
histories, not by their size alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from slmrec.compress.watching import watch
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder
from slmrec.models.scorer import History

Method = Literal["wanda", "sparsegpt"]
GROUP, KEPT_OF_GROUP = 4, 2
DAMPING = 0.01
"""Share of the mean diagonal that is added to a Hessian, so that it can be inverted."""
BLOCK = 128
"""Columns whose errors are carried on together by SparseGPT."""


@dataclass(frozen=True)
class Pattern:
    """Which entries of a row may go: any, or exactly two of every four neighbours."""

    share: float = 0.5
    """Share of each row's entries that becomes zero."""
    two_of_four: bool = False


def sparsify(
    model: Decoder, method: Method, pattern: Pattern, sample: Sequence[History]
) -> Decoder:
    """A copy whose layers have sparse matrices; item embeddings and norms stay as they are.

    Raises `ValueError` where 2:4 is asked of a matrix whose rows are no multiple of four.
    """
    made = Decoder(model.shape).eval()
    made.load_state_dict(model.state_dict())
    grams = input_grams(model, sample)
    for name, module in _matrices(made).items():
        gram = grams[name]
        weight = module.weight.data
        if method == "wanda":
            kept = wanda_mask(weight, gram.diagonal().sqrt(), pattern)
            module.weight.data = weight * kept
        else:
            module.weight.data = sparsegpt(weight, gram, pattern)
    return made


def input_grams(model: Decoder, sample: Sequence[History]) -> dict[str, Tensor]:
    """For every matrix of the layers Σ x xᵀ of what enters it at the sample's real positions.

    Each float32 [inputs, inputs], by the name of the module.
    """
    matrices = _matrices(model)
    grams = watch(model, list(matrices.values()), sample, lambda _, states: states.T @ states)
    return dict(zip(matrices, grams, strict=True))


def wanda_mask(weight: Tensor, input_norm: Tensor, pattern: Pattern) -> Tensor:
    """Which entries stay: those of a row with the largest |weight| · norm of what enters them.

    Wanda (Sun et al., ICLR 2024, arXiv 2306.11695). `weight` [outputs, inputs], `input_norm` [inputs];
    returns bool of the weight's shape.
    """
    return _strongest(weight.abs() * input_norm, pattern)


def sparsegpt(weight: Tensor, gram: Tensor, pattern: Pattern) -> Tensor:
    """Sparse weights whose remaining entries make up for those that went.

    SparseGPT (Frantar and Alistarh, ICML 2023, arXiv 2301.00774): column after column, the error that
    zeros make in a row's output on the inputs behind `gram` (Σ x xᵀ, [inputs, inputs]) is carried to
    the columns not yet visited, along the inverse Hessian's Cholesky factor.
    """
    weight = weight.double().clone()
    hessian = gram.double().clone()
    silent = hessian.diagonal() == 0  # nothing ever enters there
    hessian[silent, silent] = 1.0
    weight[:, silent] = 0.0
    size = len(hessian)
    hessian.diagonal().add_(DAMPING * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor = torch.linalg.cholesky(inverse, upper=True)
    for start in range(0, size, BLOCK):
        end = min(start + BLOCK, size)
        diagonal = factor.diagonal()[start:end]
        kept = _strongest((weight[:, start:end] / diagonal) ** 2, pattern)
        errors = torch.zeros(len(weight), end - start, dtype=weight.dtype)
        for column in range(start, end):
            inside = column - start
            left = torch.where(kept[:, inside], weight[:, column], 0.0)
            error = (weight[:, column] - left) / factor[column, column]
            weight[:, column] = left
            weight[:, column + 1 : end] -= error[:, None] * factor[column, column + 1 : end]
            errors[:, inside] = error
        weight[:, end:] -= errors @ factor[start:end, end:]
    return weight.float()


def masks_of(model: Decoder) -> Mapping[str, Tensor]:
    """Where the matrices of the layers are not zero, by parameter name."""
    return {f"{name}.weight": module.weight != 0 for name, module in _matrices(model).items()}


def _strongest(strength: Tensor, pattern: Pattern) -> Tensor:
    """The entries that stay in each row, equal ones by their place."""
    if pattern.two_of_four:
        if strength.shape[1] % GROUP:
            raise ConfigError(
                f"sparsity.two_of_four of a matrix with {strength.shape[1]} columns, expected a "
                "multiple of 4; keep other shares of heads and feed-forward channels"
            )
        groups = strength.view(len(strength), -1, GROUP)
        return _top(groups, KEPT_OF_GROUP).flatten(1)
    staying = strength.shape[1] - int(pattern.share * strength.shape[1])
    return _top(strength, staying)


def _top(strength: Tensor, count: int) -> Tensor:
    order = torch.sort(strength, dim=-1, descending=True, stable=True).indices[..., :count]
    return torch.zeros(strength.shape, dtype=torch.bool).scatter_(-1, order, True)


def _matrices(model: Decoder) -> dict[str, nn.Linear]:
    return {
        f"layers.{name}": module
        for name, module in model.layers.named_modules()
        if isinstance(module, nn.Linear)
    }
