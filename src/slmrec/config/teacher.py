"""The teacher, and what is kept of it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from slmrec.config.section import Device, Dropout, Length, Positive, Section, check_heads
from slmrec.config.training import Training


class PretrainedCheckpoint(Section):
    """A pretrained causal language model, and how its first layers are adapted to items.

    The defaults are the SLMRec paper's (arXiv 2405.17890, LLaMA-2-7B).
    """

    checkpoint: Annotated[str, Field(min_length=1)]
    """A Hugging Face checkpoint with safetensors weights: a folder, `gs://BUCKET/FOLDER/`, or a hub id
    (`OWNER/NAME` or `OWNER/NAME@REVISION`)."""
    layers: Positive = 8
    """The first so many layers are used; the others are not even loaded."""
    prompt: str = (
        "A person's history follows, the oldest item first. Predict the item that comes next."
    )
    """Stands in front of every history, in the checkpoint's own words; empty for none."""
    lora_rank: Positive = 16
    """Rank of the adapters (LoRA), the only trained part of the layers."""
    lora_alpha: Positive = 16
    """What an adapter adds is scaled by `lora_alpha / lora_rank`."""
    lora_dropout: Dropout = 0.05
    """On what enters an adapter."""
    lora_modules: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Linear maps in each layer that are given an adapter."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the frozen weights; `bfloat16` takes half the memory."""


class EnsembleMembers(Section):
    """What an ensemble teacher is made of, beside item transitions and popularity."""

    folds: Annotated[int, Field(ge=2, le=16)] = 3
    """Parts of the users, and networks: each is trained without one part, and is the one that is asked
    about that part's training histories."""
    networks: Annotated[
        tuple[Literal["scratch", "sasrec", "pretrained"], ...], Field(min_length=1)
    ] = ("scratch",)
    """Kinds of the networks, dealt to the folds in turn; a student is compared with the states of the
    first."""
    counted_share: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """What part of each target a network learns from item transitions, each history judged without
    itself; the rest is the item that came next."""
    top_k: Positive = 64
    """Items a position that transitions give as targets."""


class TrainTeacher(Section):
    """A deep decoder over item embeddings, of a pretrained language model, or several together."""

    kind: Literal["scratch", "pretrained", "ensemble"] = "scratch"
    """`scratch`: a Llama-architecture decoder of the size below. `pretrained`: the layers that the
    section `pretrained` names, in which `layers`, `heads`, `feed_forward` and `training.dropout` do
    nothing. `ensemble`: several networks of the size below, item transitions and popularity."""
    ensemble: EnsembleMembers = EnsembleMembers()
    """Read when `kind` is `ensemble`."""
    pretrained: PretrainedCheckpoint | None = None
    """Read when `kind` is `pretrained`, or an ensemble has such a network."""
    width: Positive = 64
    """Of the item embeddings; from scratch, of the layers too."""
    layers: Positive = 8
    """Decoder layers."""
    heads: Positive = 2
    """Attention heads, which divide the width into even parts."""
    feed_forward: Positive = 256
    """Inner width of the gated feed-forward network."""
    max_length: Length = 50
    """Interactions a window holds; longer histories are cut into consecutive windows."""
    item_embeddings: Literal["pretrained", "random", "text"] = "pretrained"
    """`pretrained` starts from `pretrain_items`, through a projection when the widths differ; `text`
    from what `text_encoder` makes of titles and categories."""
    text_encoder: str = ""
    """For `text`: a Hugging Face encoder or causal language model, named like a checkpoint."""
    freeze_items: bool = False
    """Keep the item embeddings as they start."""
    training: Training = Training(learning_rate=1e-3)

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> Self:
        if "pretrained" in self.networks() and self.pretrained is None:
            setting = "kind" if self.kind == "pretrained" else "ensemble.networks"
            raise ValueError(
                f"{setting} names 'pretrained' and the section 'pretrained' is missing; name at least "
                "pretrained.checkpoint"
            )
        if self.kind != "pretrained":
            check_heads(self.width, self.heads)
        return self

    @model_validator(mode="after")
    def _ensembles_score_the_whole_catalogue(self) -> Self:
        if self.kind == "ensemble" and self.training.loss != "softmax":
            raise ValueError(
                f"kind is 'ensemble' and training.loss is '{self.training.loss}'; expected 'softmax': "
                "the networks of an ensemble also learn what transitions say of the whole catalogue"
            )
        return self

    @model_validator(mode="after")
    def _items_have_a_source(self) -> Self:
        if (self.item_embeddings == "text") != bool(self.text_encoder):
            raise ValueError(
                f"item_embeddings is '{self.item_embeddings}' and text_encoder is "
                f"'{self.text_encoder}'; expected a text_encoder with 'text' and only with it"
            )
        if self.kind == "ensemble" and self.item_embeddings == "pretrained":
            raise ValueError(
                "kind is 'ensemble' and item_embeddings is 'pretrained'; expected 'random' or 'text': "
                "what pretrain_items learned of all users would tell each network of its own fold"
            )
        if self.freeze_items and self.item_embeddings == "random":
            raise ValueError(
                "freeze_items is true and item_embeddings is 'random'; expected 'pretrained' or "
                "'text', since random ones that stay as they are say nothing"
            )
        return self

    def networks(self) -> tuple[str, ...]:
        """The kinds of networks that are trained."""
        return self.ensemble.networks if self.kind == "ensemble" else (self.kind,)

    def depth(self) -> tuple[str, int]:
        """Layers of the network whose states the cache keeps, and the setting that says so."""
        if self.networks()[0] == "pretrained" and self.pretrained is not None:
            return "train_teacher.pretrained.layers", self.pretrained.layers
        return "train_teacher.layers", self.layers


class CacheTeacher(Section):
    """What is kept of the teacher for every training position."""

    blocks: Positive = 1
    """Equal groups of layers; the hidden state is kept at the end of each."""
    top_k: Positive = 32
    """Catalogue scores kept a position."""
    states: Literal["bfloat16", "int8"] = "bfloat16"
    """Type of the hidden states kept; `int8` has a scale for each position and block, and half the
    size."""
    attention: bool = False
    """Keep where each position looked in the last layer of every block: 2 · blocks · max_length bytes
    a position."""
    shards: Positive = 2
    """Parts, by user, that are computed in parallel tasks."""
    batch_tokens: Positive = 4096
    """Tokens of the packed rows that the teacher is asked about at once."""
    device: Device = "auto"
    """Where the teacher runs; `auto` is a GPU where torch finds one."""
