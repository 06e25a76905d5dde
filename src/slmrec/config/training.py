"""One optimisation, and the models that a pipeline trains with it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from slmrec.config.section import (
    Device,
    Dropout,
    Length,
    Positive,
    Rate,
    Section,
    Seed,
    Share,
    Weight,
    check_heads,
)


class Training(Section):
    """One optimisation: shared by SASRec, teacher and student."""

    loss: Literal["softmax", "sampled_softmax", "gbce"] = "softmax"
    """Cross-entropy of the next item. `softmax`: over the whole catalogue, its cost grows with it.
    Over a sample of it, which takes more epochs: `sampled_softmax`, with logQ correction (Bengio and
    Senécal, 2008; Yi et al., RecSys 2019), or `gbce`, generalised binary cross-entropy (gSASRec: Petrov
    and Macdonald, RecSys 2023)."""
    negatives: Positive = 1024
    """Items drawn for each batch by the two sampled losses."""
    gbce_calibration: Share = 0.75
    """t of `gbce`: 0 is plain binary cross-entropy, 1 takes out all the overconfidence that sampling
    brings."""
    epochs: Positive = 20
    """Passes over the training positions; `patience` may end it earlier."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Peak of a one-cycle schedule: linear warm-up, cosine decay to zero."""
    warmup_share: Rate = 0.1
    """Share of all steps spent warming up."""
    batch_tokens: Positive = 2048
    """Tokens of the packed rows in one step; at most a few of a hundred are padding."""
    weight_decay: Weight = 0.01
    """AdamW, on matrices only; embeddings, norms and biases are not decayed."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of all gradients together; larger ones are scaled down to it."""
    dropout: Dropout = 0.3
    """Inside the layers."""
    embedding_dropout: Dropout = 0.5
    """On the item embeddings that enter the first layer."""
    patience: Positive = 4
    """Validations without a better NDCG@10 before training stops."""
    validate_every: Positive = 2
    """Epochs between validations."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of matrix products; `auto` is bfloat16 where the processor has instructions for it and the
    product is large enough to gain from it, which depends on the machine but not on the moment."""
    recency_half_life_days: Annotated[float, Field(gt=0)] | Literal["auto"] | None = "auto"
    """Beside the others of its batch a target counts half as much in the cross-entropy for every so
    many days before the newest training interaction; null: all alike; `auto`: what predicts the
    validation items clearly best."""
    max_logit_mib: Positive = 64
    """Largest block of catalogue scores held at once in the loss `softmax`, MiB."""
    device: Device = "auto"
    """Where to compute; `auto` is a GPU where torch finds one."""
    seed: Seed = 17
    """Of weights, order of the rows, and dropout."""


class PretrainItems(Section):
    """The paper's first stage: item embeddings from SASRec."""

    width: Positive = 64
    """Of the item embeddings and the layers."""
    layers: Positive = 2
    """Transformer layers."""
    heads: Positive = 2
    """Attention heads, which divide the width."""
    max_length: Length = 50
    """Interactions a window holds; longer histories are cut into consecutive windows."""
    training: Training = Training()

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        check_heads(self.width, self.heads)
        return self
