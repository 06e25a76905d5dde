"""Load sequences, train SASRec, save it."""

from typing import Any

from components.runtime import checkpoint_directory, step
from slmrec.config import PretrainItems
from slmrec.data.sequences import load_sequences
from slmrec.progress import Progress
from slmrec.training.pretrain import train_sasrec
from slmrec.training.record import save_trained, training_metadata


@step("pretrain_items", outputs=("items_model",), trains=True)
def run(progress: Progress, sequences: str, config: str, items_model: str) -> dict[str, Any]:
    """Train SASRec on the sequences at a path and publish it at another."""
    settings = PretrainItems.from_json(config)
    data = load_sequences(sequences)
    assert data.artifact is not None
    inputs = {"sequences": data.artifact}
    checkpoints = checkpoint_directory("pretrain_items", config, inputs)
    model, training, speed = train_sasrec(data, settings, progress, checkpoints)
    saved = save_trained(items_model, "sasrec", model, training, config=config, inputs=inputs)
    return training_metadata(saved, training, speed)
