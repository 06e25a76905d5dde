"""Item embeddings from what an item is called, through any Hugging Face encoder or language model."""

from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor, nn

from slmrec.columns import ItemIndex
from slmrec.errors import ConfigError, first_line
from slmrec.models.hugging_face import FAULTS, Checkpoint
from slmrec.models.item_tables import fit_width
from slmrec.progress import Progress

MAX_TOKENS = 64
"""Of an item's text; the rest is not read."""
MAX_CHARACTERS = 2000
"""More than `MAX_TOKENS` tokens of any language; a longer text does not even reach the tokenizer."""
BATCH = 64
INITIAL_STD = 0.02
"""Of the entries of a table that starts at random."""


def item_texts(items: pl.DataFrame) -> list[str]:
    """Title and category of every item, in the order of an item table (columns `ItemIndex`).

    Empty where an item has neither. Raises `ConfigError` when no item has a title.
    """
    names = [name for name in (ItemIndex.TITLE, ItemIndex.CATEGORY) if name in items.columns]
    cut = pl.col(names).cast(pl.String).str.slice(0, MAX_CHARACTERS).str.strip_chars()
    known = items.select(cut.replace("", None))
    if ItemIndex.TITLE not in names or known[ItemIndex.TITLE].is_null().all():
        raise ConfigError(
            "train_teacher.item_embeddings is 'text' and no item has a title; give the items' file "
            "(--items, and ingest_interactions.columns.title), or use 'pretrained'"
        )
    joined = pl.concat_str(names, separator=", ", ignore_nulls=True).fill_null("")
    return known.select(joined).to_series().to_list()


def text_item_table(
    texts: Sequence[str],
    checkpoint: Checkpoint,
    width: int,
    seed: int,
    dtype: torch.dtype,
    progress: Progress,
) -> Tensor:
    """A table that a network may start from: float32 [items + 1, width], row 0 (padding) zero.

    What the encoder says about each text, less the mean over items, in its `width` principal
    directions and as large as a random start; an item without text gets the mean, which is zero.
    `dtype` is that of the encoder's weights. Raises `ConfigError` when it is no text encoder.
    """
    vectors, known = text_embeddings(texts, checkpoint, dtype, progress)
    centred = torch.zeros_like(vectors)
    # Only the mean's removal makes the first direction one in which items differ.
    centred[known] = vectors[known] - vectors[known].mean(dim=0)
    fitted = fit_width(centred, width, seed)
    fitted = fitted * (INITIAL_STD / fitted.std().clamp_min(torch.finfo(fitted.dtype).tiny))
    return torch.cat((fitted.new_zeros(1, width), fitted))


@torch.no_grad()
def text_embeddings(
    texts: Sequence[str], checkpoint: Checkpoint, dtype: torch.dtype, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Mean of the encoder's last states over a text's tokens, of length 1.

    Returns float32 [texts, encoder width] and bool [texts], false where a text has no token and the
    row is zero. A text is text: words that look like control tokens are not taken for them.
    """
    config = checkpoint.config()
    if config.is_encoder_decoder:
        raise ConfigError(
            f"checkpoint {checkpoint.location}: an encoder with a decoder, expected an encoder or a "
            "causal language model"
        )
    config.use_cache = False
    tokenizer = checkpoint.tokenizer()
    tokens: list[list[int]] = tokenizer(
        list(texts), truncation=True, max_length=MAX_TOKENS, split_special_tokens=True
    )["input_ids"]
    network = checkpoint.network(config, dtype)
    checkpoint.require_vocabulary((token for text in tokens for token in text), network)
    lengths = torch.tensor(
        [len(row) if text else 0 for row, text in zip(tokens, texts, strict=True)]
    )
    vectors: Tensor | None = None
    done = int((lengths == 0).sum())
    # Texts of one length share a batch, so that little of it is padding.
    for chosen in torch.split(torch.argsort(lengths, stable=True)[done:], BATCH):
        rows = [torch.tensor(tokens[item]) for item in chosen.tolist()]
        pooled = _pooled(network, rows, checkpoint)
        if vectors is None:
            vectors = pooled.new_zeros(len(texts), pooled.shape[1])
        vectors[chosen] = pooled
        done += len(chosen)
        progress.update(done, len(texts), f"{done:,} of {len(texts):,} item texts")
    if vectors is None:
        raise ConfigError(
            f"checkpoint {checkpoint.location}: its tokenizer finds no token in any text"
        )
    return vectors, lengths > 0


def _pooled(network: nn.Module, rows: list[Tensor], checkpoint: Checkpoint) -> Tensor:
    """Mean states of texts [tokens], each of length 1: float32 [texts, encoder width]."""
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    real = torch.arange(padded.shape[1]) < lengths[:, None]
    try:
        states: Tensor = network(input_ids=padded, attention_mask=real.long()).last_hidden_state
    except FAULTS as error:
        raise ConfigError(
            f"checkpoint {checkpoint.location}: a {type(network).__name__} does not read text "
            f"({first_line(error)}); expected an encoder or a causal language model"
        ) from error
    mean = (states.float() * real[..., None]).sum(dim=1) / lengths[:, None]
    return nn.functional.normalize(mean, dim=1)
