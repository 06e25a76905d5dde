"""Training one network against the catalogue alone: SASRec, or a teacher."""

from pathlib import Path

import torch
from torch import Tensor

from slmrec.config import PretrainItems, Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.encoder import SequenceEncoder, packed_mask
from slmrec.models.networks import Network
from slmrec.models.pretrained import PretrainedDecoder
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.progress import Progress
from slmrec.training.batches import Batch
from slmrec.training.loop import Losses, TrainingResult, TrainingSpeed, train
from slmrec.training.objective import catalogue_loss
from slmrec.training.teachers import build_network


def train_sasrec(
    sequences: Sequences,
    config: PretrainItems,
    progress: Progress,
    checkpoints: Path | None = None,
) -> tuple[SASRec, TrainingResult, TrainingSpeed]:
    """Train SASRec on the next item at every position; `checkpoints` as `train` takes it."""
    torch.manual_seed(config.training.seed)
    shape = SASRecShape(
        items=sequences.item_count,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        max_length=config.max_length,
    )
    model = SASRec(shape, config.training.dropout, config.training.embedding_dropout)
    return model, *_train_next_item(model, sequences, config.training, progress, checkpoints)


def train_network(
    sequences: Sequences,
    item_vectors: Tensor | None,
    config: TrainTeacher,
    progress: Progress,
    checkpoints: Path | None = None,
) -> tuple[Network, TrainingResult, TrainingSpeed]:
    """Train the one network that a teacher's settings describe; `checkpoints` as `train` takes it.

    `item_vectors` [items + 1, any width] starts its embeddings unless they come from item text.
    """
    torch.manual_seed(config.training.seed)
    model = build_network(config.kind, sequences, item_vectors, config, progress)
    model.items.weight.requires_grad_(not config.freeze_items)
    trained = _train_next_item(model, sequences, config.training, progress, checkpoints)
    if isinstance(model, PretrainedDecoder):
        model.merge_adapters()
    return model, *trained


def next_item_loss(
    model: SequenceEncoder, batch: Batch, dtype: torch.dtype, max_logit_mib: int
) -> Losses:
    """Cross-entropy of the next item at every real position of a packed batch."""
    state = model(batch.items, batch.positions, packed_mask(batch.segments))[-1]
    real = batch.targets > 0
    with torch.autocast(state.device.type, enabled=False):
        ce = catalogue_loss(state[real].float(), model.items.weight, batch, max_logit_mib, dtype)
    return {"ce": ce}


def _train_next_item(
    model: SequenceEncoder,
    sequences: Sequences,
    config: Training,
    progress: Progress,
    checkpoints: Path | None,
) -> tuple[TrainingResult, TrainingSpeed]:
    return train(
        model,
        lambda batch, dtype: next_item_loss(model, batch, dtype, config.max_logit_mib),
        sequences,
        config,
        progress,
        checkpoints=checkpoints,
    )
