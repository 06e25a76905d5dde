"""Load the student, take away what the variant says, save it."""

from pathlib import Path
from typing import Any

from components.runtime import step
from slmrec.artifacts import open_artifact, publish
from slmrec.compress.prune import prune
from slmrec.compress.recovery import recover
from slmrec.config import DistillStudent, Variant
from slmrec.data.sequences import load_sequences
from slmrec.distillation.read_cache import TeacherCache
from slmrec.models.checkpoint import load_decoder, write_model
from slmrec.progress import Progress


@step("prune_student", outputs=("pruned",), label="variant")
def run(
    progress: Progress,
    sequences: str,
    student: str,
    caches: list[str],
    variant: str,
    config: str,
    pruned: str,
) -> dict[str, Any]:
    """Prune the student at a path as the variant says and publish the result at another.

    `config` is how the student was distilled: it recovers in the same way, from the same cache.
    """
    settings = Variant.from_json(variant)
    data = load_sequences(sequences)
    stored = open_artifact(student, "student")
    whole = load_decoder(stored)
    model = prune(whole, settings, data)
    inputs = {"student": stored}
    if settings.recovery is not None:
        cache = TeacherCache(caches, data)
        distillation = DistillStudent.from_json(config)
        recovered = recover(model, data, cache, distillation, settings.recovery, progress)
        model = recovered.student
        inputs |= {f"cache-{number}": shard for number, shard in enumerate(cache.artifacts)}
    assert data.artifact is not None
    properties = {"name": settings.name, "feed_forward": list(model.shape.feed_forward)}
    with publish(
        Path(pruned),
        "pruned",
        config=variant,
        inputs={"sequences": data.artifact, **inputs},
        properties=properties,
    ) as staging:
        write_model(staging, model)
    progress.update(1, 1)
    return {
        "digest": open_artifact(pruned, "pruned").digest,
        "headline": f"{settings.name} · {model.parameters_backbone():,} of "
        f"{whole.parameters_backbone():,} backbone parameters",
        "parameters_backbone": model.parameters_backbone(),
    }
