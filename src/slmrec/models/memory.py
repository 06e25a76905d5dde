"""What was counted, as a part of a network: what usually follows the newest items, and what is popular.

On sparse logs who follows whom says more than a state of a few hundred numbers can carry for a whole
catalogue. A network that keeps the strongest transitions of each item beside its layers need not carry
them, and looking them up costs about as much as looking up embeddings. What is popular is one number
an item.
"""

import torch
from torch import Tensor, nn

from slmrec.models.transitions import DECAY, RECENT, Transitions

FLOOR = 1e-4
"""Share of all that was found below which an item counts as not found."""


class CountedMemory(nn.Module):
    """The strongest transitions and the popularity of every item, beside the layers' scores.

    `neighbours` int32 and `weights` float32 [items + 1, N], 0 where an item has fewer; `popular`
    float32 [items + 1] is what each item has been given for being popular; `gain` is a scalar, how much
    transitions count. All are buffers: they are counted, not trained.
    """

    neighbours: Tensor
    weights: Tensor
    popular: Tensor
    gain: Tensor

    def __init__(self, items: int, neighbours: int) -> None:
        super().__init__()
        self.register_buffer("neighbours", torch.zeros(items + 1, neighbours, dtype=torch.int32))
        self.register_buffer("weights", torch.zeros(items + 1, neighbours))
        self.register_buffer("popular", torch.zeros(items + 1))
        self.register_buffer("gain", torch.zeros(()))

    def remember(self, transitions: Transitions) -> None:
        """Keep the strongest transitions, one hop and two, of each item."""
        neighbours, weights = transitions.strongest(self.neighbours.shape[1])
        self.neighbours.copy_(torch.from_numpy(neighbours))
        self.weights.copy_(torch.from_numpy(weights))

    def strongest(self, neighbours: int) -> "CountedMemory":
        """A copy that keeps the strongest transitions of each item, as many as it is given."""
        made = CountedMemory(len(self.neighbours) - 1, neighbours)
        for name, kept in made.state_dict().items():
            mine = self.state_dict()[name]
            kept.copy_(mine[:, :neighbours] if mine.dim() == 2 else mine)
        return made

    def forward(self, items: Tensor, last: Tensor) -> Tensor:
        """What is added to the scores of the catalogue: [batch, items + 1].

        `items` int64 [batch, length], padded on the right; `last` int64 [batch], index of the newest.
        """
        return self.gain * self.evidence(items, last) + self.popular

    def evidence(self, items: Tensor, last: Tensor) -> Tensor:
        """What transitions add at a gain of one, 0 for what is not found: [batch, items + 1].

        The logarithm of an item's share of all that the newest items lead to, less that of `FLOOR`.
        """
        age = torch.arange(RECENT, device=items.device)
        place = last[:, None] - age  # [batch, RECENT]
        newest = items.gather(1, place.clamp(min=0)) * (place >= 0)  # padding has no neighbours
        follows = self.neighbours[newest].long().flatten(1)  # [batch, RECENT · N]
        weight = (self.weights[newest] * DECAY ** age[None, :, None]).flatten(1)
        found = self.weights.new_zeros(items.shape[0], len(self.neighbours))
        found = found.scatter_add(1, follows, weight)
        # The logarithm is taken of the few that were found, not of a whole catalogue of zeros.
        share = found.gather(1, follows) / weight.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return torch.zeros_like(found).scatter(1, follows, torch.log1p(share / FLOOR))
