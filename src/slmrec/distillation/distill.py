"""The student learns from the teacher cache; the teacher itself never runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slmrec.config import DistillStudent, LossWeights
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache_format import CachedTeacher
from slmrec.distillation.distance import teacher_distance
from slmrec.distillation.losses import (
    attention_divergence,
    cosine_loss,
    norm_loss,
    sampled_divergence,
)
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.student import Scaffold, build_student
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import SequenceEncoder, packed_mask, window_rows
from slmrec.progress import Progress
from slmrec.training.batches import Batch
from slmrec.training.loop import Losses, TrainingResult, TrainingSpeed, train
from slmrec.training.losses import SoftTargets, soft_cross_entropy
from slmrec.training.objective import catalogue_loss
from slmrec.training.sequence_weights import sequence_weights


@dataclass(frozen=True)
class Distilled:
    """A student and how its distillation went."""

    student: Decoder
    training: TrainingResult
    speed: TrainingSpeed
    report: Mapping[str, Any]
    """`teacher_distance`'s, and what the parts are worth on validation where there is a memory."""


def distill(
    teacher: SequenceEncoder | None,
    sequences: Sequences,
    cache: TeacherCache,
    config: DistillStudent,
    progress: Progress,
    checkpoints: Path | None = None,
) -> Distilled:
    """Train a student that learns from the cache.

    `teacher` gives only weights to start from, as `build_student` says; it may be none. `checkpoints`
    as `train` takes it. Raises `ConfigError` when the settings do not fit the cache or the teacher.
    """
    require_fit(cache, config)
    torch.manual_seed(config.training.seed)
    student = build_student(teacher, sequences, cache, config, progress)
    return learn_from_cache(student, sequences, cache, config, progress, checkpoints)


def learn_from_cache(
    student: Decoder,
    sequences: Sequences,
    cache: TeacherCache,
    config: DistillStudent,
    progress: Progress,
    checkpoints: Path | None = None,
) -> Distilled:
    """Train a student that is there already on the cache, in place; `checkpoints` as `train` takes it.

    Raises `ConfigError` when the settings do not fit the cache.
    """
    require_fit(cache, config)
    scaffold = Scaffold(student.shape.width, cache.blocks, cache.width)

    def loss(batch: Batch, dtype: torch.dtype) -> Losses:
        cached = cache.read(batch.source[batch.source >= 0].numpy())
        return distillation_losses(
            student,
            scaffold,
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
        scaffold,
        target_weights=sequence_weights(sequences, config.sequence_weights),
        checkpoints=checkpoints,
        depends_on=" ".join((config.to_json(), *(shard.digest for shard in cache.artifacts))),
    )
    matched = config.losses.cosine > 0 or config.losses.norm > 0
    distance = teacher_distance(student, scaffold, sequences, cache, states_matched=matched)
    return Distilled(student, training, speed, distance)


def require_fit(cache: TeacherCache, config: DistillStudent) -> None:
    """Check settings against a cache. Raises `ConfigError`."""
    if config.layers % cache.blocks:
        raise ConfigError(
            f"distill_student.layers is {config.layers} and cannot be divided into the "
            f"{cache.blocks} blocks of the teacher cache"
        )
    if config.losses.attention and not cache.layout.attention:
        raise ConfigError(
            f"distill_student.losses.attention is {config.losses.attention:g} and the teacher cache "
            "holds no attention; set cache_teacher.attention to true and run cache_teacher again"
        )


def distillation_losses(
    student: Decoder,
    scaffold: Scaffold,
    batch: Batch,
    cached: CachedTeacher,
    weights: LossWeights,
    max_logit_mib: int,
    dtype: torch.dtype,
) -> Losses:
    """Every switched-on term, weighted, averaged over blocks and positions.

    `cached` describes the real positions of the batch in row-major order. Cross-entropies are weighted
    means by what the batch's targets count, all other terms plain ones.
    """
    blocks = cached.states.shape[1]
    real = batch.targets > 0
    looks = weights.attention > 0
    hidden = student.read(
        batch.items, batch.positions, packed_mask(batch.segments), blocks, attention=looks
    )
    states = [state[real].float() for state in hidden.states]
    table = student.items.weight
    with torch.autocast(table.device.type, enabled=False):
        terms = _catalogue_terms(states[-1], table, batch, cached, weights, max_logit_mib, dtype)
        if weights.cosine or weights.norm:
            matched = list(
                zip(scaffold.in_teacher_width(states), cached.states.unbind(dim=1), strict=True)
            )
            if weights.cosine:
                terms["cosine"] = weights.cosine * _mean([cosine_loss(s, t) for s, t in matched])
            if weights.norm:
                terms["norm"] = weights.norm * _mean([norm_loss(s, t) for s, t in matched])
        if weights.multi_supervision and blocks > 1:
            inner = [
                catalogue_loss(state, table, batch, max_logit_mib, dtype)
                for state in scaffold.inner_states(states)
            ]
            terms["multi_supervision"] = weights.multi_supervision * _mean(inner)
        if looks:
            assert cached.attention is not None, "the cache was checked to hold it"
            places = cached.attention.shape[2]
            rows = window_rows(hidden.attention, batch.positions, real, places)
            terms["attention"] = weights.attention * attention_divergence(rows, cached.attention)
    return terms


def _catalogue_terms(
    states: Tensor,
    table: Tensor,
    batch: Batch,
    cached: CachedTeacher,
    weights: LossWeights,
    max_logit_mib: int,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """The terms that score items: the cross-entropy and, where it is on, the divergence on logits."""
    if not weights.logits:
        return {"ce": catalogue_loss(states, table, batch, max_logit_mib, dtype)}
    real = batch.targets > 0
    targets, negatives = batch.targets[real], batch.negatives
    soft = SoftTargets(cached.top_items, cached.top_scores, weights.temperature)
    if negatives is not None:
        divergence = sampled_divergence(
            states, table, targets, soft, negatives.items, negatives.log_q, dtype
        )
        ce = catalogue_loss(states, table, batch, max_logit_mib, dtype)
        return {"ce": ce, "logits": weights.logits * divergence}
    ce, divergence = soft_cross_entropy(
        states,
        table,
        targets,
        soft,
        max_logit_mib,
        dtype,
        batch.weights[real],
        scales=(batch.weight_scale, weights.logits),
    )
    return {"ce": ce, "logits": divergence}


def _mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean()
