"""A whole student: layers that learned from the cache, and a memory where the teacher has counted."""

from dataclasses import replace
from pathlib import Path

from slmrec.artifacts import Artifact
from slmrec.config import DistillStudent
from slmrec.data.sequences import Sequences
from slmrec.distillation.distill import Distilled, distill
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.stored_teacher import counted_members, starting_network
from slmrec.distillation.student_memory import with_memory
from slmrec.progress import Progress


def make_student(
    teacher: Artifact,
    sequences: Sequences,
    cache: TeacherCache,
    config: DistillStudent,
    progress: Progress,
    checkpoints: Path | None = None,
) -> Distilled:
    """Distil a student of a stored teacher from its cache; `checkpoints` as `train` takes it.

    Raises `ConfigError` when the settings do not fit the cache or the teacher.
    """
    distilled = distill(starting_network(teacher), sequences, cache, config, progress, checkpoints)
    counted = counted_members(teacher)
    if not config.memory or counted is None:
        return distilled
    progress.say(f"a memory of {config.memory} transitions an item, and of what is popular")
    student, quality = with_memory(
        distilled.student, counted, config.memory, sequences, config.training.seed
    )
    best = quality.get("together", distilled.training.best_ndcg)
    return replace(
        distilled,
        student=student,
        training=replace(distilled.training, best_ndcg=best),
        report={**distilled.report, "validation_ndcg_at_10": dict(quality)},
    )
