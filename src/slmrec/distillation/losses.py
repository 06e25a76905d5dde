"""The losses of distillation, each a mean over positions (SLMRec, arXiv 2405.17890, section 4)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cos over positions; both [positions, width]."""
    return (1 - F.cosine_similarity(student, teacher, dim=-1)).mean()


def norm_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of ‖teacher − student‖² / width over positions; both [positions, width]."""
    return (student - teacher).square().mean()


def top_k_divergence(
    states: Tensor, table: Tensor, indices: Tensor, teacher_scores: Tensor, temperature: float
) -> Tensor:
    """Mean KL(teacher ‖ student) over the teacher's top-K items, both renormalised on them.

    `states` [positions, width]; `table` [items + 1, width]; `indices` int64 and `teacher_scores`
    [positions, K]. Multiplied by temperature² so that the gradient's size does not depend on it.
    """
    student_scores = torch.einsum("pd,pkd->pk", states, F.embedding(indices, table))
    student_log = F.log_softmax(student_scores / temperature, dim=-1)
    teacher_log = F.log_softmax(teacher_scores / temperature, dim=-1)
    divergence = (teacher_log.exp() * (teacher_log - student_log)).sum(dim=-1).mean()
    return divergence * temperature**2
