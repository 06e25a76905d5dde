"""Block Influence: how much each layer changes what passes through it (ShortGPT, arXiv 2403.03853)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from slmrec.data.sequences import PADDING
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded

_ROWS = 256


@torch.inference_mode()
def block_influence(model: Decoder, histories: Sequence[NDArray[np.int32]]) -> list[float]:
    """1 − mean cosine between a layer's input and its output, for each layer.

    The mean is over every item of the histories, oldest first, of which the newest `max_length` are
    read. A layer of influence 0 passes on what it receives.
    """
    model.eval()
    sums = [0.0] * len(model.layers)
    real = torch.empty(0, dtype=torch.bool)
    count = 0

    def watch(number: int) -> Any:
        def see(layer: nn.Module, received: tuple[Tensor, ...], given: Tensor) -> None:
            cosine = F.cosine_similarity(received[0], given, dim=-1)
            sums[number] += float(cosine[real].double().sum())

        return see

    hooks = [layer.register_forward_hook(watch(n)) for n, layer in enumerate(model.layers)]
    try:
        for start in range(0, len(histories), _ROWS):
            items, _ = right_padded(list(histories[start : start + _ROWS]), model.max_length)
            real = items != PADDING
            count += int(real.sum())
            model(items, torch.arange(items.shape[1]).expand_as(items))
    finally:
        for hook in hooks:
            hook.remove()
    return [1.0 - total / count for total in sums]
