"""What AdamW decays and how fast it goes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from slmrec.config import Training


def parameter_groups(module: nn.Module, config: Training) -> list[dict[str, Any]]:
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
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
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
