"""The student, what it learns, and its compressed variants."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from slmrec.config.section import Positive, Section, Weight, check_heads
from slmrec.config.training import Training


class LossWeights(Section):
    """L = ce + Σ weight · term, each averaged over blocks and positions; 0 switches a term off."""

    cosine: Weight = 1.0
    """λ1 · (1 − cos(h_teacher, h_student)) at each block end."""
    norm: Weight = 0.1
    """λ2 · ‖h_teacher − h_student‖² / width at each block end."""
    multi_supervision: Weight = 0.1
    """λ3 · cross-entropy of a head at each inner block end; no effect with one block."""
    logits: Weight = 0.5
    """λ4 · KL(teacher ‖ student): the teacher over its cached top-K items, the student over the whole
    catalogue, so that what it gives to other items counts against it."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Of the KL on logits, both sides; its square multiplies the term."""
    attention: Weight = 0.0
    """λ5 · KL(teacher ‖ student) of where each position looks in the last layer of a block, the mean
    over heads; needs `cache_teacher.attention`."""


class SequenceWeights(Section):
    """What a training target counts in the cross-entropy by its place in the history.

    Weights multiply each other and those of `training.recency_half_life_days`; null: all alike.
    """

    position_half_life: Annotated[float, Field(gt=0)] | None = None
    """A target counts half as much for every so many interactions before the end of its user's
    training history."""
    gap_half_life_days: Annotated[float, Field(gt=0)] | None = None
    """A target counts half as much for every so many days since the interaction before it. No effect on
    logs that have only an order: their times are places in the history, which count as seconds."""


class DistillStudent(Section):
    """The student and what it learns from the cache."""

    layers: Positive = 1
    """Decoder layers, fewer than the teacher's."""
    initial_layers: Literal["first", "block_influence", "random"] = "first"
    """Copied from the teacher: its first layers, or those that turn their input furthest (ShortGPT,
    arXiv 2403.03853); `random`: none. A student whose width, heads or feed_forward are not the
    teacher's, or whose teacher is no decoder of ours, starts with random layers."""
    width: Positive | None = None
    """Null: the teacher's. Another width starts from the teacher's item embeddings, projected, and has
    a learned map to the teacher's width at each block end, which is dropped afterwards."""
    heads: Positive | None = None
    """Null: the teacher's in the teacher's width, else one for each 32 of the width."""
    feed_forward: Positive | None = None
    """Null: the teacher's in the teacher's width, else four times the width."""
    memory: Annotated[int, Field(ge=0)] = 64
    """Transitions of each item that the student keeps beside its layers, where its teacher is an
    ensemble and so has counted them; 0: none."""
    losses: LossWeights = LossWeights()
    sequence_weights: SequenceWeights = SequenceWeights()
    training: Training = Training()

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width is not None:
            check_heads(self.width, self.heads or 1)
        return self


Kept = Annotated[float, Field(gt=0, le=1)]


class Sparsity(Section):
    """Single weights that become zero. No kernel of ONNX Runtime on a CPU is faster for it."""

    method: Literal["wanda", "sparsegpt"] = "wanda"
    """`wanda` (arXiv 2306.11695) drops what weighs least on training histories; `sparsegpt` (arXiv
    2301.00774) also changes what stays so that it makes up for that."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of each row of a matrix that becomes zero."""
    two_of_four: bool = False
    """Two of every four neighbours become zero instead, the pattern that some GPUs have kernels for."""


class Recovery(Section):
    """A short distillation that lets a pruned student find itself again."""

    epochs: Positive = 2
    """Passes over the training positions."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Peak; the schedule and all else are the student's own."""


INT4_BLOCK = 32
"""Neighbours that share a scale in 4 bits."""


class Variant(Section):
    """One compressed student."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
    """What it is called in tables, tasks and the registry; no two have the same."""
    layers: Positive | None = None
    """Layers kept, those with the largest Block Influence; null: all."""
    heads_share: Kept = 1.0
    """Share of attention heads kept in each layer, those that write most; at least one."""
    feed_forward_share: Kept = 1.0
    """Share of feed-forward channels kept, the most important ones by activation."""
    sparsity: Sparsity | None = None
    """Null: no weight is dropped for itself."""
    recovery: Recovery | None = None
    """Training from the teacher cache after pruning, what was dropped staying so; null: none."""
    memory: Positive | None = None
    """Transitions an item, on average, that are kept of the student's memory: those that weigh most,
    and more of items that are met often; null: all."""
    weights: Literal["float32", "bfloat16", "int8", "int4"] = "int8"
    """Numbers of the exported weights. `int8`: the item table by item, other matrices by column.
    `int4`: with a scale for every 32 neighbours. Both keep the memory in bytes. `bfloat16` is half the
    bytes of float32 on disk and float32 once loaded."""
    states: Literal["static", "dynamic"] = "static"
    """How `int8` rounds what is multiplied with the weights. `static`: in steps that training histories
    decide, after outlying channels were smoothed; `dynamic`: each state in steps of its own largest
    entry, which costs a pass over all scores."""
    product_bytes: Positive | None = None
    """Bytes of an item's embedding under product quantization, a divisor of the width, for catalogues
    that are most of a model; needs `int8`. Null: a byte for each number."""

    def unreachable(self, width: int, feed_forward: int, layers: int, blocks: int) -> str:
        """Why a student of these sizes cannot be cut down to this one; empty where it can.

        `blocks` are those of the teacher cache, from which what was pruned learns again.
        """
        kept = self.layers or layers
        if kept > layers:
            return f"layers is {kept}, expected at most the student's {layers}"
        if self.recovery is not None and kept % blocks:
            return (
                f"recovery learns from a cache of {blocks} blocks (cache_teacher.blocks), which do not "
                f"divide layers, {kept}"
            )
        if self.sparsity is not None and self.sparsity.two_of_four:
            for name, size in (("width", width), ("feed_forward", feed_forward)):
                if size % 4:
                    return f"two_of_four of a student of {name} {size}, expected a multiple of 4"
        return ""

    def misfit(self, width: int) -> str:
        """Why a student of a width cannot be stored like this; empty where it can."""
        if self.weights == "int4" and width % INT4_BLOCK:
            return (
                f"weights 'int4' of a student of width {width}, expected a multiple of {INT4_BLOCK}"
            )
        if self.product_bytes is not None and width % self.product_bytes:
            return (
                f"product_bytes is {self.product_bytes}, expected a divisor of the student's width "
                f"{width}"
            )
        return ""

    @property
    def keeps_everything(self) -> bool:
        """Whether it is the student as it was trained."""
        plain = Variant(name=self.name, weights="float32")
        return self.model_copy(update={"states": plain.states}) == plain

    @model_validator(mode="after")
    def _product_of_bytes(self) -> Self:
        if self.product_bytes is not None and self.weights != "int8":
            raise ValueError(
                f"product_bytes needs weights 'int8', found '{self.weights}'; set one of both"
            )
        return self
