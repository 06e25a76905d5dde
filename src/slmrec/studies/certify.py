"""The certificate for people: whose first recommendation cannot differ between teacher and student.

`slmrec.distillation`'s `teacher_distance` gives the same certificate for training positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from slmrec.evaluation.metrics import Floats
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded

_CELLS = 2**22
"""Catalogue scores held at once."""


@dataclass(frozen=True)
class Certificates:
    """What is known of each user.

    - `ratio` float64 [users]: the teacher's margin over the largest change of it that the bound
      allows; above 1 the first item is certified, infinite where the states are the same
    - `pair_ratio` float64 [users]: the same with a bound for each item of its own
    - `same_first` bool [users]; `distance`, `cosine` float64 [users, blocks]
    """

    ratio: Floats
    pair_ratio: Floats
    same_first: NDArray[np.bool_]
    distance: Floats
    cosine: Floats


@torch.inference_mode()
def certify(
    teacher: Decoder, student: Decoder, blocks: int, histories: Sequence[NDArray[np.int32]]
) -> Certificates:
    """Compare the states of teacher and student after each history.

    Scores are dot products with the student's item embeddings, for both states. By Cauchy-Schwarz
    the scores that they give item i differ by at most ‖h_teacher − h_student‖ · ‖e_i‖, so a margin
    above twice the largest such bound cannot be turned around (`ratio`). The lead of the first item
    over item j changes by at most ‖h_teacher − h_student‖ · ‖e_first − e_j‖, which is never more
    (`pair_ratio`).
    """
    rows = max(1, _CELLS // (student.shape.items + 1))
    parts = [
        _chunk(teacher, student, blocks, histories[start : start + rows])
        for start in range(0, len(histories), rows)
    ]
    ratio, pair_ratio, same, distance, cosine = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    return Certificates(ratio, pair_ratio, same, distance, cosine)


def margin_ratios(theirs: Tensor, mine: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`ratio`, `pair_ratio` and `same_first` of `Certificates`, each [users].

    `theirs` and `mine` are the last states of teacher and student [users, width], `table` the item
    embeddings [items, width] without padding.
    """
    scores = theirs @ table.T  # [users, items]
    best = scores.topk(2, dim=1)
    moved = (mine - theirs).norm(dim=1)
    ratio = _over(best.values[:, 0] - best.values[:, 1], 2 * moved * table.norm(dim=1).max())
    first = best.indices[:, 0]
    lead = best.values[:, :1] - scores
    apart = torch.cdist(table[first], table)
    pairs = _over(lead, moved[:, None] * apart)
    pairs.scatter_(1, first[:, None], torch.inf)  # an item has no lead over itself
    same = (mine @ table.T).argmax(dim=1) == first
    return ratio, pairs.amin(dim=1), same


def _over(margin: Tensor, bound: Tensor) -> Tensor:
    # A margin of nothing is not certified, however near the states are.
    return torch.where(margin > 0, margin / bound, torch.zeros_like(margin))


def _chunk(
    teacher: Decoder, student: Decoder, blocks: int, histories: Sequence[NDArray[np.int32]]
) -> tuple[NDArray[np.generic], ...]:
    theirs = _last_states(teacher, blocks, histories)
    mine = _last_states(student, blocks, histories)
    ratio, pair_ratio, same = margin_ratios(
        theirs[:, -1], mine[:, -1], student.items.weight[1:].double()
    )
    distance = (theirs - mine).norm(dim=2)
    cosine = F.cosine_similarity(theirs, mine, dim=2)
    return tuple(tensor.numpy() for tensor in (ratio, pair_ratio, same, distance, cosine))


def _last_states(
    model: Decoder, blocks: int, histories: Sequence[NDArray[np.int32]]
) -> Tensor:  # float64 [users, blocks, width]
    model.eval()
    items, last = right_padded(list(histories), model.max_length)
    states = model(items, torch.arange(items.shape[1]).expand_as(items), blocks=blocks)
    row = torch.arange(len(items))
    return torch.stack([state[row, last] for state in states], dim=1).double()
