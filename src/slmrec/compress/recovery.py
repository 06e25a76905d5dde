"""A pruned student learns again, for a short while, from the cache that it was distilled from."""

from collections.abc import Callable

from torch import Tensor

from slmrec.compress.sparsity import masks_of
from slmrec.config import DistillStudent, Recovery
from slmrec.data.sequences import Sequences
from slmrec.distillation.distill import Distilled, learn_from_cache
from slmrec.distillation.read_cache import TeacherCache
from slmrec.models.decoder import Decoder
from slmrec.progress import Progress


def recover(
    pruned: Decoder,
    sequences: Sequences,
    cache: TeacherCache,
    distillation: DistillStudent,
    recovery: Recovery,
    progress: Progress,
) -> Distilled:
    """Train a copy of a pruned student as it was distilled, gently; zeros in its layers stay zeros.

    Raises `ConfigError` when the layers that are left do not fall into the cache's blocks.
    """
    student = Decoder(
        pruned.shape, distillation.training.dropout, distillation.training.embedding_dropout
    )
    student.load_state_dict(pruned.state_dict())
    masks = masks_of(student)
    for name, parameter in student.named_parameters():
        if name in masks and not masks[name].all():
            parameter.register_hook(_only(masks[name]))  # type: ignore[no-untyped-call]
    training = distillation.training.model_copy(
        update={"epochs": recovery.epochs, "learning_rate": recovery.learning_rate}
    )
    update = {"training": training, "layers": student.shape.layers}
    config = distillation.model_copy(update=update)
    return learn_from_cache(student, sequences, cache, config, progress)


def _only(mask: Tensor) -> Callable[[Tensor], Tensor]:
    """Lets gradients through where a weight is not zero."""
    return lambda gradient: gradient * mask.to(gradient.device)
