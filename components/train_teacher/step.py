"""Load sequences and item embeddings, train the teacher, save it."""

from typing import Any

from components.runtime import checkpoint_directory, step
from slmrec.artifacts import open_artifact
from slmrec.config import TrainTeacher
from slmrec.data.sequences import load_sequences
from slmrec.models.checkpoint import item_vectors, load_model
from slmrec.progress import Progress
from slmrec.training.record import save_trained, training_metadata
from slmrec.training.teacher import train_teacher, worth_learning_from


@step("train_teacher", outputs=("teacher",), trains=True)
def run(
    progress: Progress, sequences: str, items_model: str, config: str, teacher: str
) -> dict[str, Any]:
    """Train the teacher on the sequences at a path and publish it at another."""
    settings = TrainTeacher.from_json(config)
    data = load_sequences(sequences)
    pretrained = open_artifact(items_model, "sasrec")
    assert data.artifact is not None
    inputs = {"sequences": data.artifact, "items_model": pretrained}
    checkpoints = checkpoint_directory("train_teacher", config, inputs)
    trained = train_teacher(data, item_vectors(pretrained), settings, progress, checkpoints)
    worth = worth_learning_from(trained, load_model(pretrained), data, settings)
    if worth:
        progress.say(worth)
    saved = save_trained(
        teacher,
        "teacher",
        trained.model,
        trained.training,
        config=config,
        inputs=inputs,
        report=trained.report,
    )
    return training_metadata(saved, trained.training, trained.speed)
