"""How far a servable is from the torch model that it was made of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.compress.forward import SCORES, STATES
from slmrec.compress.storage import Storage
from slmrec.evaluation.metrics import HEADLINE_CUTOFF, ndcg
from slmrec.evaluation.ranking import rank_targets
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded
from slmrec.models.scorer import History
from slmrec.models.servable import graph_inputs, open_graph

_CELLS = 2**22
"""Catalogue scores held at once."""
_DIGITS = 6
_LIST = 10


def parity(
    student: Decoder, storage: Storage, graph: Path, sample: Sequence[History]
) -> dict[str, float]:
    """Compare the graph at a path with its torch model on sample histories; empty without any.

    - `top10_overlap`: mean share of common items in the two top-10 lists
    - `score_error`: mean absolute difference of scores over the standard deviation of the torch scores
    - `ndcg_difference`: NDCG@10 of the last item after those before it, the graph's less the model's;
      absent where no history has two items
    - `same_first_share`: of histories, those after which both put the same item first
    - `certified_share`: those for which that is certain (`certified_leads`)
    """
    if not sample:
        return {}
    session = open_graph(graph, threads=1)
    rows = max(1, _CELLS // (student.shape.items + 1))
    found: list[dict[str, NDArray[np.float64]]] = []
    scored: list[float] = []
    for start in range(0, len(sample), rows):
        part = sample[start : start + rows]
        items, last = right_padded(list(part), student.max_length)
        with torch.inference_mode():
            states = student.last_states(items, last)
            expected = student.catalogue_scores(items, last)
        scores, entering = (
            torch.from_numpy(array)
            for array in session.run([SCORES, STATES], graph_inputs(part, student.max_length))
        )
        first = expected[:, 1:].argmax(dim=1)
        leads = certified_leads(student, storage, (items, last), states, expected, entering)
        scored.append(float(expected[:, 1:].std()))
        found.append(
            {
                "top10_overlap": _overlap(expected[:, 1:].numpy(), scores[:, 1:].numpy()),
                "score_error": (expected - scores)[:, 1:].abs().mean(dim=1).double().numpy(),
                "same_first_share": (scores[:, 1:].argmax(dim=1) == first).double().numpy(),
                "certified_share": leads.double().numpy(),
            }
        )
    figures = {
        name: float(np.mean(np.concatenate([part[name] for part in found]))) for name in found[0]
    }
    figures["score_error"] /= max(float(np.mean(scored)), 1e-12)
    known = [history for history in sample if len(history) > 1]
    if known:
        figures["ndcg_difference"] = _next_item_difference(student, session, known, rows)
    return {name: round(value, _DIGITS) for name, value in figures.items()}


def certified_leads(
    student: Decoder,
    storage: Storage,
    asked: tuple[Tensor, Tensor],
    states: Tensor,
    scores: Tensor,
    entering: Tensor,
) -> Tensor:
    """After which histories the first item cannot change by quantization: bool [batch].

    The lead of the first item over item j is made of three things, each of which quantization moves:
    the state, by at most ‖ĥ − h‖ · ‖ê_first − ê_j‖ (Cauchy-Schwarz); the embeddings, by
    h · (δ_first − δ_j) with δ = ê − e; the memory, by what its rounding changes at both items. Where a
    lead exceeds the sum for every j it cannot be turned around. `asked` is (items, last) as the model
    reads them, `states` and `scores` are what the model made of it, `entering` what the graph gives as
    `states`.
    """
    normed = storage.model.norm(entering).detach().numpy()
    read = torch.from_numpy(storage.items.rounded(normed)).double()
    kept = torch.from_numpy(storage.items.dense()[1:]).double()
    table = student.items.weight.detach()[1:].double()
    first = scores[:, 1:].argmax(dim=1, keepdim=True)
    moved = (read - states.double()).norm(dim=1, keepdim=True) * torch.cdist(
        kept[first[:, 0]], kept
    )
    rounded = states.double() @ (kept - table).T
    moved += (rounded.gather(1, first) - rounded).abs()
    memory = storage.memory()
    if memory is not None and student.memory is not None:
        change = (memory(*asked) - student.memory(*asked))[:, 1:].double()
        moved += (change.gather(1, first) - change).abs()
    exact = scores[:, 1:].double()
    lead = exact.gather(1, first) - exact
    safe = lead > moved
    safe.scatter_(1, first, True)
    return safe.all(dim=1)


def _next_item_difference(
    student: Decoder,
    session: onnxruntime.InferenceSession,
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
        (scores,) = session.run([SCORES], graph_inputs(known, student.max_length))  # type: ignore[attr-defined]
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
