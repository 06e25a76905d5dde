"""Training against the catalogue alone: SASRec, and the teacher."""

from pathlib import Path

import torch
from torch import Tensor

from slmrec.config import PretrainItems, Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import SequenceEncoder, packed_mask
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.progress import Progress
from slmrec.training.batches import Batch
from slmrec.training.loop import Losses, TrainingResult, TrainingSpeed, train
from slmrec.training.objective import catalogue_loss


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


def train_teacher(
    sequences: Sequences,
    item_table: Tensor | None,
    config: TrainTeacher,
    progress: Progress,
    checkpoints: Path | None = None,
) -> tuple[Decoder, TrainingResult, TrainingSpeed]:
    """Train the deep decoder, its embeddings started from `item_table` [items + 1, any width].

    `checkpoints` as `train` takes it.
    """
    torch.manual_seed(config.training.seed)
    shape = DecoderShape(
        items=sequences.item_count,
        width=config.width,
        heads=config.heads,
        feed_forward=(config.feed_forward,) * config.layers,
        max_length=config.max_length,
    )
    model = Decoder(shape, config.training.dropout, config.training.embedding_dropout)
    if item_table is not None:
        with torch.no_grad():
            model.items.weight.copy_(fit_width(item_table, config.width, config.training.seed))
    return model, *_train_next_item(model, sequences, config.training, progress, checkpoints)


def fit_width(table: Tensor, width: int, seed: int) -> Tensor:
    """An embedding table in another width: [rows, any] → [rows, width].

    Wider: a random orthonormal basis, which keeps every dot product. Narrower: the principal
    components, which keep as much of them as a narrower table can.
    """
    own = table.shape[1]
    if own == width:
        return table
    if own < width:
        generator = torch.Generator().manual_seed(seed)
        basis, _ = torch.linalg.qr(torch.randn(width, own, generator=generator))
        return table @ basis.T
    _, _, components = torch.linalg.svd(table, full_matrices=False)
    return table @ components[:width].T


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
