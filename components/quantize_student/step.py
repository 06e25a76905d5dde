"""Load the pruned student, export and quantize it, compare it with what it came from."""

from typing import Any

from components.runtime import step
from slmrec.artifacts import open_artifact
from slmrec.compress.export import export_servable
from slmrec.config import Variant
from slmrec.data.sequences import load_sequences
from slmrec.models.checkpoint import load_decoder
from slmrec.models.servable import Servable
from slmrec.progress import Progress


@step("quantize_student", outputs=("servable",), label="variant")
def run(
    progress: Progress, sequences: str, pruned: str, variant: str, servable: str
) -> dict[str, Any]:
    """Export the model at a path as the variant says and publish the servable at another."""
    settings = Variant.from_json(variant)
    data = load_sequences(sequences)
    stored = open_artifact(pruned, "pruned")
    assert data.artifact is not None
    saved, parity = export_servable(
        load_decoder(stored),
        data.item_table,
        settings,
        servable,
        calibration=data.sample_histories("train"),
        sample=data.sample_histories("validation"),
        inputs={"sequences": data.artifact, "pruned": stored},
    )
    size = Servable(saved).bytes
    progress.update(1, 1)
    overlap = f" · top-10 overlap {parity['top10_overlap']:.3f}" if parity else ""
    return {
        "digest": saved.digest,
        "headline": f"{settings.name} · {size / 2**20:.2f} MiB{overlap}",
        "bytes": size,
        **parity,
    }
