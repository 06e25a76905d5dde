"""Several recommenders as one teacher: networks, what usually follows, and what is popular now.

The logit of an item is the mean of the networks' scores plus what each counted recommender adds: the
logarithm of the item's share of everything it scored, times a gain that is fitted on validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from slmrec.models.encoder import right_padded
from slmrec.models.memory import FLOOR
from slmrec.models.networks import Network
from slmrec.models.popularity import Popularity
from slmrec.models.scorer import History
from slmrec.models.transitions import Transitions

Floats = NDArray[np.float32]

TRANSITIONS, POPULARITY = "transitions", "popularity"
COUNTED = (TRANSITIONS, POPULARITY)
"""Members that are counted and not trained, by the name of their gain."""


def evidence(scores: Floats) -> Floats:
    """What counted scores add to a logit: log(1 + share / FLOOR), 0 for what has no share.

    `scores` float32 [rows, items + 1], not negative; a share is of its row's sum.
    """
    share = torch.from_numpy(scores)
    share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-12)
    found: Floats = share.div_(FLOOR).log1p_().numpy()
    return found


@dataclass(frozen=True)
class EnsembleShape:
    """What callers ask of any model's shape."""

    items: int
    max_length: int
    layers: int
    """Of the first network."""


class Ensemble:
    """Networks, each trained without a fold of the users, and counted recommenders.

    `gains` says how much each counted member counts; 0 leaves it out.
    """

    name = "teacher"

    def __init__(
        self,
        networks: Sequence[Network],
        transitions: Transitions,
        popularity: Popularity,
        gains: Mapping[str, float],
    ) -> None:
        self.networks = [network.eval() for network in networks]
        self.transitions = transitions
        self.popularity = popularity
        self.gains = dict(gains)
        first = self.networks[0]
        self.shape = EnsembleShape(first.shape.items, first.max_length, first.shape.layers)
        self.max_length = first.max_length
        self.bytes = transitions.bytes + popularity.bytes
        self.bytes += sum(
            tensor.nbytes for network in self.networks for tensor in network.state_dict().values()
        )

    def parameters_total(self) -> int:
        """Every parameter of the networks, and every number that was counted."""
        counted = self.transitions.parameters_total + self.popularity.parameters_total
        return counted + sum(network.parameters_total() for network in self.networks)

    def parameters_backbone(self) -> int:
        """Parameters of the networks without embedding tables."""
        return sum(network.parameters_backbone() for network in self.networks)

    @torch.inference_mode()
    def network_scores(self, histories: Sequence[History]) -> Floats:
        """The mean of the networks' scores: float32 [histories, items + 1]."""
        items, last = right_padded(list(histories), self.max_length)
        total = torch.stack([network.catalogue_scores(items, last) for network in self.networks])
        mean: Floats = total.mean(dim=0).numpy()
        return mean

    def counted_evidence(self, histories: Sequence[History]) -> dict[str, Floats]:
        """What each counted member adds at a gain of one: float32 [histories, items + 1] each."""
        return {
            TRANSITIONS: evidence(self.transitions.scores(histories)),
            POPULARITY: evidence(self.popularity.scores(histories)),
        }

    def scores(self, histories: Sequence[History]) -> Floats:
        """Logits of every item: float32 [histories, items + 1]."""
        return self.with_counted(self.network_scores(histories), histories)

    def with_counted(self, scores: Floats, histories: Sequence[History]) -> Floats:
        """The mean of the networks' scores with what counted members add to it, in place."""
        for name, added in self.counted_evidence(histories).items():
            if self.gains[name]:
                scores += np.float32(self.gains[name]) * added
        return scores
