"""What enters a model's modules on real histories: what pruning and quantization are decided by."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded
from slmrec.models.scorer import History


@contextmanager
def entering(
    model: Decoder, modules: Sequence[nn.Module], sample: Sequence[History]
) -> Iterator[list[Tensor]]:
    """What enters each module at a sample's real positions: float32 [positions, its width] each."""
    items, last = right_padded(list(sample), model.max_length)
    real = torch.arange(items.shape[1])[None] <= last[:, None]
    found: dict[int, Tensor] = {}
    hooks = []
    for number, module in enumerate(modules):

        def record(_: nn.Module, inputs: tuple[Tensor, ...], number: int = number) -> None:
            found[number] = inputs[0][real].float()

        hooks.append(module.register_forward_pre_hook(record))
    with torch.inference_mode():
        try:
            model.eval()(items, torch.arange(items.shape[1]).expand_as(items))
        finally:
            for hook in hooks:
                hook.remove()
        yield [found[number] for number in range(len(modules))]
