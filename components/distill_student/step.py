"""Load sequences, teacher weights and cache, train the student, save it."""

from typing import Any

from components.runtime import checkpoint_directory, step
from slmrec.artifacts import open_artifact
from slmrec.config import DistillStudent
from slmrec.data.sequences import load_sequences
from slmrec.distillation.make_student import make_student
from slmrec.distillation.read_cache import TeacherCache
from slmrec.progress import Progress
from slmrec.training.record import save_trained, training_metadata


@step("distill_student", outputs=("student",), trains=True)
def run(
    progress: Progress,
    sequences: str,
    teacher: str,
    caches: list[str],
    config: str,
    student: str,
) -> dict[str, Any]:
    """Distil a student from the cache shards at some paths and publish it at another."""
    settings = DistillStudent.from_json(config)
    data = load_sequences(sequences)
    stored = open_artifact(teacher, "teacher")
    cache = TeacherCache(caches, data, stored)
    assert data.artifact is not None
    shards = {f"cache-{number}": shard for number, shard in enumerate(cache.artifacts)}
    inputs = {"sequences": data.artifact, "teacher": stored, **shards}
    checkpoints = checkpoint_directory("distill_student", config, inputs)
    distilled = make_student(stored, data, cache, settings, progress, checkpoints)
    training = distilled.training
    saved = save_trained(
        student,
        "student",
        distilled.student,
        training,
        config=config,
        inputs=inputs,
        report=distilled.report,
    )
    metadata = training_metadata(saved, training, distilled.speed)
    return {**metadata, "certified_share": distilled.report["certified_share"]}
