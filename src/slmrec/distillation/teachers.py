"""A teacher as the cache reads it: what it says about every position of a packed batch."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import packed_mask
from slmrec.models.pretrained import PretrainedDecoder
from slmrec.training.batches import Batch


@dataclass(frozen=True)
class Reading:
    """What a teacher says about the real positions of a batch, in row-major order."""

    states: Tensor
    """float32 [positions, blocks, width]: hidden states at block ends, the last one normed."""
    scores: Tensor
    """float32 [positions, items + 1]: logits of the catalogue; column 0 (padding) is -inf."""


class Teacher(Protocol):
    """Anything that a cache can be made of."""

    @property
    def layers(self) -> int:
        """Layers of the network whose states are kept."""
        ...

    @property
    def width(self) -> int:
        """Width of those states."""
        ...

    @property
    def max_length(self) -> int:
        """Items that a window may hold."""
        ...

    def read(self, batch: Batch, blocks: int) -> Reading:
        """Say what it knows; no gradients. Raises `ConfigError` when the blocks do not divide."""
        ...


class DecoderTeacher:
    """One decoder, from scratch or of a pretrained language model, in evaluation mode."""

    def __init__(self, decoder: Decoder | PretrainedDecoder) -> None:
        self.decoder = decoder.eval()
        self.layers = decoder.shape.layers
        self.width = decoder.shape.width
        self.max_length = decoder.max_length

    @torch.inference_mode()
    def read(self, batch: Batch, blocks: int) -> Reading:
        """Run the decoder over the batch."""
        if self.layers % blocks:
            raise ConfigError(
                f"cache_teacher.blocks is {blocks} and does not divide the teacher's "
                f"{self.layers} layers"
            )
        mask = packed_mask(batch.segments)
        outputs = self.decoder(batch.items, batch.positions, mask, blocks)
        real = batch.targets > 0
        states = torch.stack([output[real] for output in outputs], dim=1).float()
        scores = states[:, -1] @ self.decoder.items.weight.T
        scores[:, 0] = -torch.inf
        return Reading(states, scores)
