"""The student learns from the teacher cache; the teacher itself never runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slmrec.config import DistillStudent, LossWeights
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache_format import CachedTeacher
from slmrec.distillation.losses import cosine_loss, norm_loss, top_k_divergence
from slmrec.distillation.read_cache import TeacherCache
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import packed_mask
from slmrec.progress import Progress
from slmrec.training.batches import Batch, pack, packed_batches, training_windows
from slmrec.training.loop import Losses, TrainingResult, TrainingSpeed, train
from slmrec.training.objective import catalogue_loss


class SupervisionHeads(nn.Module):
    """One head for each inner block end, making its state one that items can be scored with.

    They exist only while the student learns and are dropped afterwards.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.RMSNorm(width), nn.Linear(width, width, bias=False))
            for _ in range(blocks - 1)
        )


def distillation_losses(
    student: Decoder,
    heads: SupervisionHeads,
    batch: Batch,
    cached: CachedTeacher,
    weights: LossWeights,
    max_logit_mib: int,
    dtype: torch.dtype,
) -> Losses:
    """Every switched-on term, weighted, averaged over blocks and positions.

    `cached` describes the real positions of the batch in row-major order.
    """
    blocks = cached.states.shape[1]
    real = batch.targets > 0
    outputs = student(batch.items, batch.positions, packed_mask(batch.segments), blocks)
    states = [output[real].float() for output in outputs]
    table = student.items.weight

    def cross_entropy(hidden: Tensor) -> Tensor:
        return catalogue_loss(hidden, table, batch, max_logit_mib, dtype)

    with torch.autocast(table.device.type, enabled=False):
        terms = {"ce": cross_entropy(states[-1])}
        matched = [(mine, cached.states[:, block]) for block, mine in enumerate(states)]
        if weights.cosine:
            terms["cosine"] = weights.cosine * _mean([cosine_loss(s, t) for s, t in matched])
        if weights.norm:
            terms["norm"] = weights.norm * _mean([norm_loss(s, t) for s, t in matched])
        if weights.multi_supervision and blocks > 1:
            inner = [
                cross_entropy(head(state))
                for head, state in zip(heads.heads, states[:-1], strict=True)
            ]
            terms["multi_supervision"] = weights.multi_supervision * _mean(inner)
        if weights.logits:
            terms["logits"] = weights.logits * top_k_divergence(
                states[-1], table, cached.top_items, cached.top_scores, weights.temperature
            )
    return terms


def _mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean()


@dataclass(frozen=True)
class Distilled:
    """A student and how its distillation went."""

    student: Decoder
    training: TrainingResult
    speed: TrainingSpeed
    distance: Mapping[str, Any]
    """`teacher_distance`'s report."""


def distill(
    teacher: Decoder,
    sequences: Sequences,
    cache: TeacherCache,
    config: DistillStudent,
    progress: Progress,
    checkpoints: Path | None = None,
) -> Distilled:
    """Train a student that starts from the teacher's first layers and learns from the cache.

    The teacher gives only its weights: embeddings, first layers, final norm. No forward pass of it
    is made. `checkpoints` as `train` takes it. Raises `ConfigError` when the layers do not divide into
    the cache's blocks.
    """
    if config.layers % cache.blocks:
        raise ConfigError(
            f"distill_student.layers is {config.layers} and cannot be divided into the "
            f"{cache.blocks} blocks of the teacher cache"
        )
    torch.manual_seed(config.training.seed)
    student = teacher.first_layers(
        config.layers, config.training.dropout, config.training.embedding_dropout
    )
    heads = SupervisionHeads(student.shape.width, cache.blocks)

    def loss(batch: Batch, dtype: torch.dtype) -> Losses:
        cached = cache.read(batch.source[batch.source >= 0].numpy())
        return distillation_losses(
            student,
            heads,
            batch,
            cached.to(batch.items.device),
            config.losses,
            config.training.max_logit_mib,
            dtype,
        )

    training, speed = train(
        student,
        loss,
        sequences,
        config.training,
        progress,
        heads,
        checkpoints=checkpoints,
        depends_on=" ".join((config.to_json(), *(shard.digest for shard in cache.artifacts))),
    )
    return Distilled(student, training, speed, teacher_distance(student, sequences, cache))


@torch.inference_mode()
def teacher_distance(
    student: Decoder,
    sequences: Sequences,
    cache: TeacherCache,
    max_positions: int = 20_000,
) -> dict[str, Any]:
    """How far the student is from its teacher on training positions, block by block.

    The certificate: by Cauchy-Schwarz the scores that the two states give an item differ by at most
    ‖h_teacher − h_student‖ · ‖e_item‖, so where the first score of the teacher's state leads the
    second by more than twice the largest such bound, both states must agree on the first item. The
    item embeddings are the student's, for both states. Measured on the first `max_positions`
    positions of a fixed order.
    """
    windows = training_windows(sequences, student.max_length)
    packing = pack(windows.length, student.max_length, np.random.default_rng(0))
    cosine = torch.zeros(cache.blocks)
    distance = torch.zeros(cache.blocks)
    certified = same_first = positions = 0
    table = student.items.weight[1:]  # without padding
    longest = table.norm(dim=1).max()
    for batch in packed_batches(sequences, windows, packing, 2048):
        real = batch.targets > 0
        outputs = student(batch.items, batch.positions, packed_mask(batch.segments), cache.blocks)
        cached = cache.read(batch.source[real].numpy())
        states = [output[real] for output in outputs]
        for block, mine in enumerate(states):
            theirs = cached.states[:, block]
            cosine[block] += F.cosine_similarity(mine, theirs, dim=-1).sum()
            distance[block] += (mine - theirs).norm(dim=-1).sum()
        mine, theirs = states[-1], cached.states[:, -1]
        best = (theirs @ table.T).topk(2, dim=1)
        bound = (mine - theirs).norm(dim=-1) * longest
        certified += int(((best.values[:, 0] - best.values[:, 1]) > 2 * bound).sum())
        same_first += int(((mine @ table.T).argmax(dim=1) == best.indices[:, 0]).sum())
        positions += int(real.sum())
        if positions >= max_positions:
            break
    return {
        "positions": positions,
        "blocks": [
            {"block": block + 1, "cosine": float(c) / positions, "distance": float(d) / positions}
            for block, (c, d) in enumerate(zip(cosine, distance, strict=True))
        ],
        "certified_share": certified / positions,
        "same_first_share": same_first / positions,
    }
