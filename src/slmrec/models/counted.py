"""What is counted of a log and not trained: what usually follows, and what is popular."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import Sequences
from slmrec.models.ensemble import COUNTED
from slmrec.models.popularity import Popularity
from slmrec.models.transitions import Transitions


@dataclass(frozen=True)
class Counted:
    """Item transitions and popularity of one log."""

    transitions: Transitions
    popularity: Popularity
    gains: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(COUNTED, 1.0))
    """How much each counts beside a network, where nothing better is known."""

    @classmethod
    def fit(cls, sequences: Sequences, weights: NDArray[np.float32] | None = None) -> "Counted":
        """Count the training part; popularity adds up `weights` (float32 [interactions]) if given."""
        return cls(Transitions.fit(sequences), Popularity.fit(sequences, weights))
