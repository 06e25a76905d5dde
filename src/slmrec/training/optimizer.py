"""AdamW: what it decays and how fast it goes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from slmrec.config import Training

_BETAS: Final = (0.9, 0.999)
_EPSILON: Final = 1e-8


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are decayed alike."""

    parameters: list[nn.Parameter]
    weight_decay: float


class AdamW:
    """The steps of `torch.optim.AdamW` with its default betas, bit by bit.

    Torch's function for a step is used without its class, which imports torch's compiler when it is
    first used: 3 seconds of every process that trains.
    """

    def __init__(self, groups: list[ParameterGroup]) -> None:
        """Nothing has moved yet."""
        self._groups = groups
        self.moments: dict[int, dict[str, Tensor]] = {}
        """Of each parameter that has had a gradient, by its number over all groups: `exp_avg`,
        `exp_avg_sq` in its shape, and `step`, a float32."""

    @property
    def parameters(self) -> Iterator[nn.Parameter]:
        """Of all groups, in the order of their numbers."""
        return (parameter for group in self._groups for parameter in group.parameters)

    def clear_gradients(self) -> None:
        """Forget the gradients of the last step and their memory."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient, at this learning rate."""
        number = 0
        for group in self._groups:
            moved: list[Tensor] = []
            gradients: list[Tensor] = []
            moments: list[dict[str, Tensor]] = []
            for parameter in group.parameters:
                if parameter.grad is not None:
                    moved.append(parameter)
                    gradients.append(parameter.grad)
                    if number not in self.moments:
                        self.moments[number] = _at_rest(parameter)
                    moments.append(self.moments[number])
                number += 1
            adamw(
                moved,
                gradients,
                [mine["exp_avg"] for mine in moments],
                [mine["exp_avg_sq"] for mine in moments],
                [],
                [mine["step"] for mine in moments],
                fused=True,
                amsgrad=False,
                beta1=_BETAS[0],
                beta2=_BETAS[1],
                lr=rate,
                weight_decay=group.weight_decay,
                eps=_EPSILON,
                maximize=False,
            )

    def go_on_from(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Take the `moments` that another one had."""
        parameters = list(self.parameters)
        self.moments = {
            number: {name: tensor.to(parameters[number].device) for name, tensor in mine.items()}
            for number, mine in moments.items()
        }


def _at_rest(parameter: nn.Parameter) -> dict[str, Tensor]:
    return {
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
        "step": torch.zeros((), device=parameter.device),
    }


def parameter_groups(module: nn.Module, config: Training) -> list[ParameterGroup]:
    """Matrices, which are decayed, and everything else, which is not.

    Embedding rows of rare items see few gradients: decay would pull them to zero.
    """
    tables = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, nn.Embedding)
        for parameter in part.parameters()
    }
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [p for p in parameters if p.dim() >= 2 and id(p) not in tables]
    others = [p for p in parameters if p.dim() < 2 or id(p) in tables]
    return [
        ParameterGroup(decayed, config.weight_decay),
        ParameterGroup(others, 0.0),
    ]


def one_cycle(peak: float, steps: int, warmup_share: float) -> Callable[[int], float]:
    """The learning rate of a step, from 0: a linear rise to `peak`, then a cosine to zero.

    A step beyond `steps` has rate zero.
    """
    warmup = max(int(steps * warmup_share), 1)

    def rate(step: int) -> float:
        if step < warmup:
            return peak * ((step + 1) / warmup)
        done = min((step - warmup) / max(steps - warmup, 1), 1)
        return peak * float(0.5 * (1 + np.cos(np.pi * done)))

    return rate
