"""A student made smaller as a variant says: layers, heads, channels, single weights, memory."""

import numpy as np
import torch
from numpy.typing import NDArray

from slmrec.compress.sparsity import Pattern, sparsify
from slmrec.compress.structure import prune_feed_forward, prune_heads, prune_layers
from slmrec.config import Variant
from slmrec.data.sequences import Sequences
from slmrec.distillation.block_influence import block_influence, most_influential
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder


def prune(student: Decoder, variant: Variant, sequences: Sequences) -> Decoder:
    """A copy with what the variant takes away gone, in the order of its settings.

    What goes is decided on training histories. Raises `ConfigError` when the student has fewer layers
    than the variant keeps.
    """
    model = student
    sample = sequences.sample_histories("train")
    if variant.layers is not None and variant.layers != model.shape.layers:
        if variant.layers > model.shape.layers:
            raise ConfigError(
                f"variants: '{variant.name}' keeps {variant.layers} layers, the student has "
                f"{model.shape.layers}"
            )
        chosen = most_influential(block_influence(model, sequences), variant.layers)
        model = prune_layers(model, chosen)
    if variant.heads_share < 1:
        model = prune_heads(model, variant.heads_share, sample)
    if variant.feed_forward_share < 1:
        model = prune_feed_forward(model, variant.feed_forward_share, sample)
    if variant.sparsity is not None:
        sparsity = variant.sparsity
        pattern = Pattern(sparsity.share, sparsity.two_of_four)
        model = sparsify(model, sparsity.method, pattern, sample)
    if variant.memory is not None and variant.memory < model.shape.memory:
        met = np.bincount(sequences.train_items(), minlength=sequences.item_count + 1)
        model = prune_memory(model, variant.memory, met)
    return model


def prune_memory(model: Decoder, neighbours: int, met: NDArray[np.int64]) -> Decoder:
    """A copy whose memory keeps so many transitions an item on average, those that matter most.

    `met` int64 [items + 1]: how often each item was met. What matters is an item's share of what
    follows, times the root of how often its leader is met: rare items have long tails that few people
    ever see. Every item keeps its strongest ones.
    """
    assert model.memory is not None
    weights = model.memory.weights.numpy()
    shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    worth = np.where(weights > 0, shares * np.sqrt(met)[:, None], -np.inf)
    budget = min(neighbours * len(weights), int((weights > 0).sum()))
    order = np.argsort(-worth, axis=None, kind="stable")[:budget]
    kept = np.zeros(weights.size, dtype=bool)
    kept[order] = True
    columns = max(int(kept.reshape(weights.shape).sum(axis=1).max()), 1)

    made = Decoder(model.shape.model_copy(update={"memory": columns})).eval()
    memory = model.memory.strongest(columns)
    left = torch.from_numpy(kept.reshape(weights.shape)[:, :columns])
    memory.weights.mul_(left)
    memory.neighbours.mul_(left)
    others = {n: t for n, t in model.state_dict().items() if not n.startswith("memory.")}
    mine = {f"memory.{name}": tensor for name, tensor in memory.state_dict().items()}
    made.load_state_dict(others | mine)
    return made
