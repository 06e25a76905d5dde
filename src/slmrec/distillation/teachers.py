"""A teacher as the cache reads it: what it says about every position of a packed batch."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import packed_mask, window_rows
from slmrec.models.networks import Network
from slmrec.training.batches import Batch
from slmrec.training.device import CPU


@dataclass(frozen=True)
class Reading:
    """What a teacher says about the real positions of a batch, in row-major order."""

    states: Tensor
    """float32 [positions, blocks, width]: hidden states at block ends, the last one normed."""
    scores: Tensor
    """float32 [positions, items + 1]: logits of the catalogue, or any scores whose softmax is what the
    teacher believes; column 0 (padding) is -inf."""
    attention: Tensor | None = None
    """float32 [positions, blocks, max_length]: where the position looked in the last layer of each
    block, the mean over heads. Place j is the window's j-th item; places after the position's own
    are zero and a row sums to 1. None when it was not asked for."""


class Teacher(Protocol):
    """Anything that a cache can be made of.

    What it says may depend on the windows that a batch holds and on the ids of their users, and on
    nothing else of the sequences: a cached shard is used again wherever the same windows come back.
    """

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

    @property
    def device(self) -> torch.device:
        """Where it runs, and where what it says lies."""
        ...

    def read(self, batch: Batch, blocks: int, *, attention: bool = False) -> Reading:
        """Say what it knows; no gradients.

        Raises `ConfigError` when the blocks do not divide the layers, or when attention is asked of
        a teacher that has none to show.
        """
        ...


def require_whole_blocks(layers: int, blocks: int) -> None:
    """Check that layers fall into equal blocks. Raises `ConfigError`."""
    if layers % blocks:
        raise ConfigError(
            f"cache_teacher.blocks is {blocks} and does not divide the teacher's {layers} layers"
        )


class NetworkTeacher:
    """One network in evaluation mode, moved to the device on which it then answers."""

    def __init__(self, network: Network, device: torch.device = CPU) -> None:
        self.network = network.eval().to(device)
        self.device = device
        self.layers = network.shape.layers
        self.width = network.shape.width
        self.max_length = network.max_length

    @torch.inference_mode()
    def read(self, batch: Batch, blocks: int, *, attention: bool = False) -> Reading:
        """Run the network over the batch."""
        require_whole_blocks(self.layers, blocks)
        batch = batch.to(self.device)
        real = batch.targets > 0
        outputs, looked = self._outputs(batch, blocks, attention=attention)
        states = torch.stack([output[real] for output in outputs], dim=1).float()
        scores = states[:, -1] @ self.network.items.weight.T
        scores[:, 0] = -torch.inf
        rows = None
        if looked:
            rows = window_rows(looked, batch.positions, real, self.max_length)
        return Reading(states, scores, rows)

    def _outputs(
        self, batch: Batch, blocks: int, *, attention: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        mask = packed_mask(batch.segments)
        if isinstance(self.network, Decoder):
            hidden = self.network.read(
                batch.items, batch.positions, mask, blocks, attention=attention
            )
            return hidden.states, hidden.attention
        if attention:
            raise ConfigError(
                "cache_teacher.attention is true, and only a decoder from scratch shows where it "
                "looks; set it to false, or train_teacher.kind to scratch"
            )
        return self.network(batch.items, batch.positions, mask, blocks), []
