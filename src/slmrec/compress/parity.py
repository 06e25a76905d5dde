"""How far a servable is from the torch model that it was made of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.compress.certificate import Certificate
from slmrec.compress.storage import Storage
from slmrec.evaluation.metrics import HEADLINE_CUTOFF, ndcg
from slmrec.evaluation.ranking import rank_targets
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded
from slmrec.models.scorer import History
from slmrec.models.servable import LAYERS, WEIGHTS, Forward

_CELLS = 2**22
"""Catalogue scores held at once."""
_CERTIFIED_CELLS = 2**26
"""Scores of certified histories, all together."""
_DIGITS = 6
_LIST = 10


def parity(
    student: Decoder, storage: Storage, servable: Path, sample: Sequence[History]
) -> dict[str, float]:
    """Compare what is served from a folder with its torch model on sample histories; empty without any.

    - `top10_overlap`: mean share of common items in the two top-10 lists
    - `score_error`: mean absolute difference of scores over the standard deviation of the torch scores
    - `ndcg_difference`: NDCG@10 of the last item after those before it, the graph's less the model's;
      absent where no history has two items
    - `same_first_share`: of histories, those after which both put the same item first
    - `certified_share`: those for which that is certain (`slmrec.compress.certificate`), of as many
      histories as a large catalogue leaves time for

    The last two do not leave out seen items.
    """
    if not sample:
        return {}
    shape = student.shape
    forward = Forward(
        servable / LAYERS,
        servable / WEIGHTS,
        items=shape.items,
        max_length=shape.max_length,
        threads=1,
    )
    rows = max(1, _CELLS // (student.shape.items + 1))
    certificate = Certificate(student, storage)
    certified = sample[: max(_CERTIFIED_CELLS // (student.shape.items + 1), 1)]
    found: list[dict[str, NDArray[np.float64]]] = []
    certain: list[Tensor] = []
    scored: list[float] = []
    for start in range(0, len(sample), rows):
        part = sample[start : start + rows]
        items, last = right_padded(list(part), student.max_length)
        with torch.inference_mode():
            expected = student.catalogue_scores(items, last)
        scores, entering = (torch.from_numpy(array) for array in forward(part))
        first = expected[:, 1:].argmax(dim=1)
        here = slice(0, max(len(certified) - start, 0))
        certain.append(certificate.holds(items[here], last[here], expected[here], entering[here]))
        scored.append(float(expected[:, 1:].std()))
        found.append(
            {
                "top10_overlap": _overlap(expected[:, 1:].numpy(), scores[:, 1:].numpy()),
                "score_error": (expected - scores)[:, 1:].abs().mean(dim=1).double().numpy(),
                "same_first_share": (scores[:, 1:].argmax(dim=1) == first).double().numpy(),
            }
        )
    figures = {
        name: float(np.mean(np.concatenate([part[name] for part in found]))) for name in found[0]
    }
    figures["certified_share"] = float(torch.cat(certain).double().mean())
    figures["score_error"] /= max(float(np.mean(scored)), 1e-12)
    known = [history for history in sample if len(history) > 1]
    if known:
        figures["ndcg_difference"] = _next_item_difference(student, forward, known, rows)
    return {name: round(value, _DIGITS) for name, value in figures.items()}


def _next_item_difference(
    student: Decoder,
    forward: Forward,
    histories: Sequence[History],
    rows: int,
) -> float:
    differences = []
    for start in range(0, len(histories), rows):
        part = histories[start : start + rows]
        known = [history[:-1] for history in part]
        targets = np.asarray([history[-1] for history in part], dtype=np.int32)
        items, last = right_padded(known, student.max_length)
        with torch.inference_mode():
            expected = student.catalogue_scores(items, last).numpy()
        scores, _ = forward(known)
        gains = [
            ndcg(rank_targets(one, known, targets, exclude_seen=False), HEADLINE_CUTOFF)
            for one in (scores, expected)
        ]
        differences.append(gains[0] - gains[1])
    return float(np.concatenate(differences).mean())


def _overlap(expected: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    k = min(_LIST, expected.shape[1])
    pairs = zip(_top(expected, k), _top(found, k), strict=True)
    return np.asarray([len(set(a.tolist()) & set(b.tolist())) / k for a, b in pairs])


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]
