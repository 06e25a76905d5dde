"""A finished training as an artifact: the model, what happened, and its curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.models.checkpoint import Storable, write_model
from slmrec.training.curves import draw_curves
from slmrec.training.loop import TrainingResult, TrainingSpeed


def save_trained(
    directory: Path | str,
    kind: str,
    model: Storable,
    training: TrainingResult,
    *,
    config: str,
    inputs: Mapping[str, Artifact],
    report: Mapping[str, Any] | None = None,
) -> Artifact:
    """Publish a trained model as an artifact of `kind` (`sasrec`, `teacher`, `student`).

    `training.json` holds what happened each epoch, `curves.svg` draws it, and `report`, where given,
    goes to `report.json`.
    """
    properties = {
        "name": kind,
        "items": model.shape.items,
        "max_length": model.shape.max_length,
        "parameters_total": model.parameters_total(),
        "parameters_backbone": model.parameters_backbone(),
    }
    with publish(
        Path(directory), kind, config=config, inputs=inputs, properties=properties
    ) as staging:
        write_model(staging, model)
        write_json(staging / "training.json", training.to_json())
        draw_curves(training.history, kind, staging / "curves.svg")
        if report is not None:
            write_json(staging / "report.json", dict(report))
    return open_artifact(directory, kind)


def training_metadata(
    saved: Artifact, training: TrainingResult, speed: TrainingSpeed
) -> dict[str, Any]:
    """What a training step tells the orchestrator: digest, headline, quality and clock times."""
    backbone = saved.properties["parameters_backbone"]
    return {
        "digest": saved.digest,
        "headline": f"validation NDCG@10 {training.best_ndcg:.4f} after epoch "
        f"{training.best_epoch} · {backbone:,} backbone parameters",
        "validation_ndcg_at_10": training.best_ndcg,
        "parameters_total": saved.properties["parameters_total"],
        "parameters_backbone": backbone,
        "train_seconds": round(speed.seconds, 3),
        "tokens_per_second": round(speed.tokens_per_second, 1),
        "epoch_seconds": round(speed.epoch_seconds, 3),
    }
