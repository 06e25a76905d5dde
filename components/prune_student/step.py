"""Load the student, take away what the variant says, save it."""

from pathlib import Path
from typing import Any

from components.runtime import step
from slmrec.artifacts import open_artifact, publish
from slmrec.compress.prune import prune
from slmrec.config import Variant
from slmrec.data.sequences import load_sequences
from slmrec.models.checkpoint import load_decoder, write_model
from slmrec.progress import Progress


@step("prune_student", outputs=("pruned",), label="variant")
def run(
    progress: Progress, sequences: str, student: str, variant: str, pruned: str
) -> dict[str, Any]:
    """Prune the student at a path as the variant says and publish the result at another."""
    settings = Variant.from_json(variant)
    data = load_sequences(sequences)
    stored = open_artifact(student, "student")
    whole = load_decoder(stored)
    model = prune(whole, settings, data)
    assert data.artifact is not None
    properties = {"name": settings.name, "feed_forward": list(model.shape.feed_forward)}
    with publish(
        Path(pruned),
        "pruned",
        config=variant,
        inputs={"sequences": data.artifact, "student": stored},
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
