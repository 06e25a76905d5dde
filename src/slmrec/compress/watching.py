"""What enters a model's modules on real histories: what pruning and quantization are decided by."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded
from slmrec.models.scorer import History

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


def watch(
    model: Decoder,
    modules: Sequence[M],
    sample: Sequence[History],
    summarise: Callable[[M, Tensor], T],
) -> list[T]:
    """What `summarise` makes of each module and what enters it, float32 [positions, its width].

    Positions are the real ones of all histories of the sample. Only summaries are held.
    """
    items, last = right_padded(list(sample), model.max_length)
    real = torch.arange(items.shape[1])[None] <= last[:, None]
    found: dict[int, T] = {}
    hooks = []
    for number, module in enumerate(modules):

        def record(_: nn.Module, inputs: tuple[Tensor, ...], number: int = number) -> None:
            found[number] = summarise(modules[number], inputs[0][real].float())

        hooks.append(module.register_forward_pre_hook(record))
    try:
        with torch.inference_mode():
            model.eval()(items, torch.arange(items.shape[1]).expand_as(items))
    finally:
        for hook in hooks:
            hook.remove()
    return [found[number] for number in range(len(modules))]


def largest(_: nn.Module, states: Tensor) -> Tensor:
    """The largest magnitude of each channel: [positions, width] → [width]."""
    return states.abs().amax(dim=0)
