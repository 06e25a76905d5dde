"""A student made smaller as a variant says: layers, heads, channels, single weights, memory."""

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
        model = prune_memory(model, variant.memory)
    return model


def prune_memory(model: Decoder, neighbours: int) -> Decoder:
    """A copy whose memory keeps the strongest transitions of each item."""
    assert model.memory is not None
    made = Decoder(model.shape.model_copy(update={"memory": neighbours})).eval()
    kept = model.memory.strongest(neighbours).state_dict()
    weights = {n: t for n, t in model.state_dict().items() if not n.startswith("memory.")}
    made.load_state_dict(weights | {f"memory.{name}": tensor for name, tensor in kept.items()})
    return made
