"""The networks that a teacher may be, each as it stands before its training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from slmrec.config import TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.hugging_face import load_checkpoint
from slmrec.models.item_tables import fit_width
from slmrec.models.item_text import item_texts, text_item_table
from slmrec.models.networks import Network
from slmrec.models.pretrained import PretrainedDecoder, open_decoder
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.progress import Progress
from slmrec.training.precision import choose_precision

Build = Callable[[int, Tensor | None, TrainTeacher, Progress], Network]
"""(items, table [items + 1, width] to start the embeddings from, settings, progress) → network."""


def build_network(
    kind: str,
    sequences: Sequences,
    item_vectors: Tensor | None,
    config: TrainTeacher,
    progress: Progress,
) -> Network:
    """A network of a kind in `BUILDERS` as the settings describe it, embeddings and all.

    `item_vectors` [items + 1, any width] is what they start from unless it is made from item text.
    """
    if config.item_embeddings == "text":
        item_vectors = _table_from_text(sequences, config, progress)
    elif item_vectors is not None:
        item_vectors = fit_width(item_vectors, config.width, config.training.seed)
    return BUILDERS[kind](sequences.item_count, item_vectors, config, progress)


def _from_scratch(
    items: int, item_vectors: Tensor | None, config: TrainTeacher, progress: Progress
) -> Decoder:
    shape = DecoderShape(
        items=items,
        width=config.width,
        heads=config.heads,
        feed_forward=(config.feed_forward,) * config.layers,
        max_length=config.max_length,
    )
    model = Decoder(shape, config.training.dropout, config.training.embedding_dropout)
    _start_items(model, item_vectors)
    return model


def _sasrec(
    items: int, item_vectors: Tensor | None, config: TrainTeacher, progress: Progress
) -> SASRec:
    shape = SASRecShape(
        items=items,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        max_length=config.max_length,
    )
    model = SASRec(shape, config.training.dropout, config.training.embedding_dropout)
    _start_items(model, item_vectors)
    return model


def _from_checkpoint(
    items: int, item_vectors: Tensor | None, config: TrainTeacher, progress: Progress
) -> PretrainedDecoder:
    settings = config.pretrained
    assert settings is not None  # checked with the settings
    with TemporaryDirectory() as scratch:
        model = open_decoder(
            load_checkpoint(settings.checkpoint, Path(scratch)),
            settings,
            items=items,
            width=config.width,
            max_length=config.max_length,
            embedding_dropout=config.training.embedding_dropout,
            item_vectors=item_vectors,
        )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    progress.say(
        f"the first {settings.layers} layers of {settings.checkpoint}, a prompt of "
        f"{len(model.prompt)} tokens: {trained:,} of {model.parameters_total():,} parameters are "
        "trained"
    )
    return model


BUILDERS: Mapping[str, Build] = {
    "scratch": _from_scratch,
    "pretrained": _from_checkpoint,
    "sasrec": _sasrec,  # only in an ensemble
}


def _start_items(model: Network, item_vectors: Tensor | None) -> None:
    if item_vectors is not None:
        with torch.no_grad():
            model.items.weight.copy_(item_vectors)


def _table_from_text(sequences: Sequences, config: TrainTeacher, progress: Progress) -> Tensor:
    texts = item_texts(sequences.item_table)
    with TemporaryDirectory() as scratch:
        encoder = load_checkpoint(config.text_encoder, Path(scratch))
        width = getattr(encoder.config(), "hidden_size", config.width)
        dtype = choose_precision(config.training, width).layers
        return text_item_table(texts, encoder, config.width, config.training.seed, dtype, progress)
