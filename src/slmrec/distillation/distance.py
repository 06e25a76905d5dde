"""How far a student ended from its teacher."""

from typing import Any

import torch
from torch.nn import functional as F

from slmrec.data.sequences import Sequences
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.sample import sampled_batches
from slmrec.distillation.student import Scaffold
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import packed_mask


@torch.inference_mode()
def teacher_distance(
    student: Decoder,
    scaffold: Scaffold,
    sequences: Sequences,
    cache: TeacherCache,
    max_positions: int = 20_000,
    *,
    states_matched: bool = True,
) -> dict[str, Any]:
    """How far the student is from its teacher on training positions, block by block.

    The certificate: by Cauchy-Schwarz the scores that the two states give an item differ by at most
    ‖h_teacher − h_student‖ · ‖e_item‖, so where the first score of the teacher's state leads the
    second by more than twice the largest such bound, both states must agree on the first item. The
    item embeddings are the student's, for both states. Where the student has another width, they
    cannot score the teacher's state: cosine and distance are then those of its projected states, and
    `certified_share` and `same_first_share` are None. `teacher_first_share` is how often the student
    puts the item first that the teacher with its own embeddings does.

    Measured on about `max_positions` positions, always the same ones. `states_matched` says whether a
    loss held the states together: if not, a map to another width was never trained, and `blocks` is
    empty.
    """
    cosine = torch.zeros(cache.blocks)
    distance = torch.zeros(cache.blocks)
    certified = same_first = teacher_first = positions = 0
    projected = bool(scaffold.projections)
    comparable = states_matched or not projected
    table = student.items.weight[1:]  # without padding
    longest = table.norm(dim=1).max()
    for batch in sampled_batches(sequences, student.max_length, max_positions):
        real = batch.targets > 0
        outputs = student(batch.items, batch.positions, packed_mask(batch.segments), cache.blocks)
        cached = cache.read(batch.source[real].numpy())
        states = [output[real] for output in outputs]
        for block, mine in enumerate(scaffold.in_teacher_width(states)):
            theirs = cached.states[:, block]
            cosine[block] += F.cosine_similarity(mine, theirs, dim=-1).sum()
            distance[block] += (mine - theirs).norm(dim=-1).sum()
        first = (states[-1] @ table.T).argmax(dim=1)
        teacher_first += int((first + 1 == cached.top_items[:, 0]).sum())
        if not projected:
            theirs = cached.states[:, -1]
            best = (theirs @ table.T).topk(2, dim=1)
            bound = (states[-1] - theirs).norm(dim=-1) * longest
            certified += int(((best.values[:, 0] - best.values[:, 1]) > 2 * bound).sum())
            same_first += int((first == best.indices[:, 0]).sum())
        positions += batch.real_positions
    return {
        "positions": positions,
        "projected": projected,
        "blocks": [
            {"block": block + 1, "cosine": float(c) / positions, "distance": float(d) / positions}
            for block, (c, d) in enumerate(zip(cosine, distance, strict=True))
            if comparable
        ],
        "certified_share": None if projected else certified / positions,
        "same_first_share": None if projected else same_first / positions,
        "teacher_first_share": teacher_first / positions,
    }
