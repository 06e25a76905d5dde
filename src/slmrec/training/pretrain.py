"""Training against the catalogue alone: SASRec, and the teacher."""

import torch
from torch import Tensor

from slmrec.config import PretrainItems, Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.encoder import SequenceEncoder, packed_mask
from slmrec.models.pretrained import PretrainedDecoder
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.progress import Progress
from slmrec.training.batches import Batch
from slmrec.training.loop import Losses, TrainingResult, TrainingSpeed, train
from slmrec.training.losses import linear_cross_entropy
from slmrec.training.teachers import TeacherNetwork, build_teacher


def train_sasrec(
    sequences: Sequences, config: PretrainItems, progress: Progress
) -> tuple[SASRec, TrainingResult, TrainingSpeed]:
    """Train SASRec with a full softmax at every position."""
    torch.manual_seed(config.training.seed)
    shape = SASRecShape(
        items=sequences.item_count,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        max_length=config.max_length,
    )
    model = SASRec(shape, config.training.dropout, config.training.embedding_dropout)
    return model, *_train_next_item(model, sequences, config.training, progress)


def train_teacher(
    sequences: Sequences, item_table: Tensor | None, config: TrainTeacher, progress: Progress
) -> tuple[TeacherNetwork, TrainingResult, TrainingSpeed]:
    """Train the teacher that the settings describe.

    `item_table` [items + 1, any width] starts its embeddings unless they come from item text.
    """
    torch.manual_seed(config.training.seed)
    model = build_teacher(sequences, item_table, config, progress)
    model.items.weight.requires_grad_(not config.freeze_items)
    trained = _train_next_item(model, sequences, config.training, progress)
    if isinstance(model, PretrainedDecoder):
        model.merge_adapters()
    return model, *trained


def next_item_loss(
    model: SequenceEncoder, batch: Batch, dtype: torch.dtype, max_logit_mib: int
) -> Losses:
    """Cross-entropy of the next item at every real position of a packed batch."""
    state = model(batch.items, batch.positions, packed_mask(batch.segments))[-1]
    real = batch.targets > 0
    with torch.autocast("cpu", enabled=False):
        ce = linear_cross_entropy(
            state[real].float(),
            model.items.weight,
            batch.targets[real],
            max_logit_mib,
            dtype,
            batch.weights[real],
        )
    return {"ce": ce}


def _train_next_item(
    model: SequenceEncoder, sequences: Sequences, config: Training, progress: Progress
) -> tuple[TrainingResult, TrainingSpeed]:
    return train(
        model,
        lambda batch, dtype: next_item_loss(model, batch, dtype, config.max_logit_mib),
        sequences,
        config,
        progress,
    )
