"""Load sequences, teacher weights and cache, train the student, save it."""

from dataclasses import replace
from typing import Any

from components.runtime import checkpoint_directory, step
from slmrec.artifacts import open_artifact
from slmrec.config import DistillStudent
from slmrec.data.sequences import load_sequences
from slmrec.distillation.distill import distill
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.stored_teacher import counted_transitions, starting_network
from slmrec.distillation.student_memory import with_memory
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
    distilled = distill(starting_network(stored), data, cache, settings, progress, checkpoints)
    model, training, report = distilled.student, distilled.training, dict(distilled.distance)
    transitions = counted_transitions(stored)
    if settings.memory and transitions is not None:
        progress.say(f"a memory of {settings.memory} transitions an item")
        model, quality = with_memory(
            model, transitions, settings.memory, data, settings.training.seed
        )
        report["validation_ndcg_at_10"] = dict(quality)
        training = replace(training, best_ndcg=quality.get("together", training.best_ndcg))
    saved = save_trained(
        student, "student", model, training, config=config, inputs=inputs, report=report
    )
    metadata = training_metadata(saved, training, distilled.speed)
    return {**metadata, "certified_share": distilled.distance["certified_share"]}
