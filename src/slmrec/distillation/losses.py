"""The losses of distillation, each a mean over positions (SLMRec, arXiv 2405.17890, section 4).

The one on logits over the whole catalogue is `slmrec.training.losses.soft_cross_entropy`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from slmrec.training.losses import SoftTargets

LEAST_WEIGHT = 1e-30
"""Attention that has vanished in float32 is taken for this much, and has no gradient."""


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cos over positions; both [positions, width]."""
    return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean()


def norm_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of ‖teacher − student‖² / width over positions; both [positions, width]."""
    return (student - teacher).square().mean()


def attention_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean KL(teacher ‖ student) of attention rows over blocks and positions.

    Both [positions, blocks, places]; a row sums to 1 and is zero where it may not look.
    """
    crossed = teacher * student.clamp(min=LEAST_WEIGHT).log()
    return (torch.xlogy(teacher, teacher) - crossed).sum(dim=-1).mean()


def sampled_divergence(
    states: Tensor,
    table: Tensor,
    targets: Tensor,
    soft: SoftTargets,
    negatives: Tensor,
    log_q: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """The divergence of `soft_cross_entropy` without scoring the whole catalogue.

    The student's softmax is over the K items, the target, and what `negatives` int64 [negatives]
    stand for: e^score of an item drawn counts 1 / q times, with `log_q` float32 [items + 1] the log of
    how often a draw is expected to hold it, so that the sum is right on average. `states` float32
    [positions, width], `table` float32 [items + 1, width], `targets` int64 [positions]; products with
    the negatives in `dtype`. [positions, negatives] and [positions, K, width] are held at once.
    """
    drawn, copies = negatives.unique(return_counts=True)  # type: ignore[no-untyped-call]
    is_known = known_among(drawn, torch.cat((soft.items, targets[:, None]), dim=1), len(table))
    # In this order the gradient of the embeddings is laid out as they are, so that none is copied.
    liked = torch.bmm(F.embedding(soft.items, table), states[:, :, None])[:, :, 0]
    target = (states * F.embedding(targets, table)).sum(dim=1, keepdim=True)
    target = target.masked_fill(
        (soft.items == targets[:, None]).any(dim=1, keepdim=True), -torch.inf
    )
    others = (states.to(dtype) @ F.embedding(drawn, table).to(dtype).T).float()
    others = others / soft.temperature + (copies.log() - log_q[drawn])
    scores = torch.cat(
        (
            liked / soft.temperature,
            target / soft.temperature,
            others.masked_fill(is_known, -torch.inf),
        ),
        dim=1,
    )
    log_student = liked / soft.temperature - scores.logsumexp(dim=1, keepdim=True)
    shares = soft.shares()
    divergence = (torch.xlogy(shares, shares) - shares * log_student).sum(dim=1).mean()
    return soft.temperature**2 * divergence


def known_among(drawn: Tensor, known: Tensor, items: int) -> Tensor:
    """Which of `drawn` [draws], each once, each row of `known` [rows, any] holds: bool [rows, draws].

    `items` is more than any number in them.
    """
    place = torch.full((items,), len(drawn), device=drawn.device)
    place[drawn] = torch.arange(len(drawn), device=drawn.device)
    found = torch.zeros(len(known), len(drawn) + 1, dtype=torch.bool, device=drawn.device)
    return found.scatter_(1, place[known], True)[:, :-1]
