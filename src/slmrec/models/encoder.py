"""What SASRec and the decoder have in common: item embeddings in, a state per position out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slmrec.data.sequences import PADDING
from slmrec.models.memory import CountedMemory


class SequenceEncoder(nn.Module, ABC):
    """Reads items, gives hidden states; the item embeddings are also the output head."""

    def __init__(self, items: int, width: int, max_length: int) -> None:
        super().__init__()
        self.items = nn.Embedding(items + 1, width, padding_idx=PADDING)
        self.max_length = max_length
        self.memory: CountedMemory | None = None

    @abstractmethod
    def forward(
        self, items: Tensor, positions: Tensor, mask: Tensor | None = None, blocks: int = 1
    ) -> list[Tensor]:
        """Hidden states at block ends, each [batch, length, width]; items are scored with the last."""

    @property
    def layer_width(self) -> int:
        """Width inside the layers, which decides what precision is worth for them."""
        return self.items.embedding_dim

    def last_states(self, items: Tensor, last: Tensor) -> Tensor:
        """States after the newest item: [batch, width].

        `items` int64 [batch, length], padded on the right; `last` int64 [batch], index of the newest
        item. Padding stands behind it, so plain causal attention never sees it.
        """
        positions = torch.arange(items.shape[1], device=items.device).expand_as(items)
        return at_last(self(items, positions)[-1], last)

    def catalogue_scores(self, items: Tensor, last: Tensor) -> Tensor:
        """Scores of every item after the newest one: [batch, items + 1]."""
        scores = self.last_states(items, last) @ self.items.weight.T
        return scores if self.memory is None else scores + self.memory(items, last)

    def parameters_total(self) -> int:
        """Every parameter, and every number that a memory has counted."""
        memory = self.memory
        remembered = 0 if memory is None else memory.weights.numel() + memory.popular.numel()
        return sum(parameter.numel() for parameter in self.parameters()) + remembered

    def parameters_backbone(self) -> int:
        """Parameters without tables that are looked up by item: embeddings and a memory."""
        tables = {
            parameter
            for module in self.modules()
            if isinstance(module, nn.Embedding)
            for parameter in module.parameters()
        }
        return sum(parameter.numel() for parameter in self.parameters() if parameter not in tables)


def at_last(states: Tensor, last: Tensor) -> Tensor:
    """The states at one place of each row: [batch, length, width], int64 [batch] → [batch, width]."""
    index = last[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, index).squeeze(1)


def packed_mask(segments: Tensor) -> Tensor:
    """Who may look at whom in rows that hold several histories.

    `segments` int64 [batch, length], one number a history (padding is one too). Returns bool
    [batch, 1, length, length]: same history and not later.
    """
    length = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return (same & causal)[:, None]


def window_rows(
    attention: Sequence[Tensor], positions: Tensor, real: Tensor, max_length: int
) -> Tensor:
    """Attention of packed rows as each history sees it: [real positions, blocks, max_length].

    `attention` holds for each block a tensor [batch, length, length]; `positions` int64 and `real`
    bool [batch, length] say which place of its history a token is and whether it is one. Place j of
    the result is the history's j-th item; places after the token's own are zero. Differentiable.
    """
    column = real.nonzero()[:, 1]
    place = positions[real]
    places = torch.arange(max_length, device=positions.device)
    source = (column - place)[:, None] + places  # may run into the next history or past the end
    source = source.clamp(max=positions.shape[1] - 1)
    seen = places <= place[:, None]
    rows = [torch.where(seen, block[real].gather(1, source), 0.0) for block in attention]
    return torch.stack(rows, dim=1)


def right_padded(histories: Sequence[NDArray[np.int32]], max_length: int) -> tuple[Tensor, Tensor]:
    """The newest `max_length` items of each history as (items [batch, longest], last [batch])."""
    lengths = [min(len(history), max_length) for history in histories]
    items = np.zeros((len(histories), max(max(lengths, default=1), 1)), dtype=np.int64)
    for row, (history, length) in enumerate(zip(histories, lengths, strict=True)):
        if length:
            items[row, :length] = history[-length:]
    last = np.maximum(np.asarray(lengths, dtype=np.int64) - 1, 0)
    return torch.from_numpy(items), torch.from_numpy(last)
