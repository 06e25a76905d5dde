"""The interface through which every model is evaluated, timed and served."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

History = NDArray[np.int32]
"""A user's item indices, oldest first; never contains padding."""


class Scorer(Protocol):
    """Anything that scores the whole catalogue for a batch of histories."""

    name: str
    """How tables call it: `popularity`, `sasrec`, `teacher`, `student`, a variant's name."""
    parameters_total: int
    parameters_backbone: int
    """Parameters without the embedding tables."""
    bytes: int
    """Size of the stored weights; 0 for a model that has none."""

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Scores of every item: float32 [histories, items + 1]; column 0 (padding) means nothing.

        A history may be longer than the model can read; the model keeps the newest part.
        An empty history is allowed. Several threads may ask at once.
        """
        ...


@runtime_checkable
class Lists(Protocol):
    """A scorer that gives the best items without handing out the scores of all."""

    def best(
        self, histories: Sequence[History], k: int, *, exclude_seen: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Items and scores [histories, k], best first, ties to the smaller index."""
        ...


@runtime_checkable
class Layered(Protocol):
    """A scorer whose layers can be run without scoring the catalogue."""

    def run_layers(self, histories: Sequence[History]) -> Any:
        """What the layers make of the histories; how long it takes is what matters."""
        ...
