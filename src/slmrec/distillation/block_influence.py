"""How much each layer of a decoder does, to choose those that a student keeps."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slmrec.data.sequences import Sequences
from slmrec.distillation.sample import sampled_batches
from slmrec.errors import SlmrecError
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import packed_mask

SAMPLED_POSITIONS = 20_000


@torch.inference_mode()
def block_influence(
    decoder: Decoder, sequences: Sequences, max_positions: int = SAMPLED_POSITIONS
) -> list[float]:
    """1 − the mean cosine of what enters a layer and what leaves it, for each layer.

    Block Influence of ShortGPT (Men et al., arXiv 2403.03853): 0 for a layer that changes nothing.
    Measured on about `max_positions` positions of training histories, always the same ones, with the
    decoder in evaluation mode. Raises `SlmrecError` when there is no training position.
    """
    decoder.eval()
    similar = [0.0] * len(decoder.layers)
    positions = 0
    real = torch.empty(0, dtype=torch.bool)

    def watch(number: int) -> Any:
        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            cosine = F.cosine_similarity(inputs[0][real], output[real], dim=-1)
            similar[number] += float(cosine.sum())

        return add

    hooks = [layer.register_forward_hook(watch(n)) for n, layer in enumerate(decoder.layers)]
    try:
        for batch in sampled_batches(sequences, decoder.max_length, max_positions):
            real = batch.targets > 0
            positions += batch.real_positions
            decoder(batch.items, batch.positions, packed_mask(batch.segments))
    finally:
        for hook in hooks:
            hook.remove()
    if not positions:
        raise SlmrecError(
            "no user has two training interactions to measure the teacher's layers on; lower "
            "build_sequences.validation_share and test_share or bring more data"
        )
    return [1 - total / positions for total in similar]


def most_influential(influence: list[float], layers: int) -> list[int]:
    """The layers with the largest influence, counted from 0, in the order that they stand."""
    by_influence = sorted(range(len(influence)), key=lambda layer: -influence[layer])
    return sorted(by_influence[:layers])
