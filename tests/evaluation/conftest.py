from collections.abc import Callable, Sequence

import numpy as np
import pytest

from slmrec.data.sequences import Sequences


class FixedScorer:
    """Scores by a function of the history; stands for a model of a chosen size."""

    parameters_total = 10
    parameters_backbone = 4

    def __init__(self, name: str, function: Callable[[np.ndarray], list[float]], size: int = 100):
        self.name = name
        self.bytes = size
        self.function = function
        self.batches: list[int] = []

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(histories))
        return np.array([self.function(history) for history in histories], dtype=np.float32)


@pytest.fixture(scope="session")
def fixed_scorer() -> type[FixedScorer]:
    return FixedScorer


@pytest.fixture(scope="session")
def leave_one_out() -> Callable[[list[list[int]], int], Sequences]:
    """Build sequences whose last item a user is test and whose last but one is validation."""

    def build(histories: list[list[int]], item_count: int) -> Sequences:
        offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
        items = np.array([item for history in histories for item in history], dtype=np.int32)
        return Sequences(
            offsets=offsets,
            items=items,
            timestamps=np.arange(len(items), dtype=np.int64),
            train_end=offsets[1:] - 2,
            validation_end=offsets[1:] - 1,
            item_count=item_count,
        )

    return build
