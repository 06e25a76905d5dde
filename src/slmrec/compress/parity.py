"""How far a servable is from the torch model that it was made of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slmrec.models.decoder import Decoder
from slmrec.models.loading import TorchScorer
from slmrec.models.scorer import History
from slmrec.models.servable import Servable


def parity(model: Decoder, servable: Servable, sample: Sequence[History]) -> dict[str, float]:
    """How far the servable is from its torch model on sample histories.

    `top10_overlap`: mean share of common items in the two top-10 lists. `score_error`: mean absolute
    difference of scores divided by the standard deviation of the torch scores.
    """
    if not sample:
        return {}
    expected = TorchScorer(model, "torch", 0).scores(sample)[:, 1:]
    found = servable.scores(sample)[:, 1:]
    k = min(10, expected.shape[1])
    overlaps = [
        len(set(a.tolist()) & set(b.tolist())) / k
        for a, b in zip(_top(expected, k), _top(found, k), strict=True)
    ]
    return {
        "top10_overlap": float(np.mean(overlaps)),
        "score_error": float(np.abs(expected - found).mean() / max(expected.std(), 1e-12)),
    }


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]
