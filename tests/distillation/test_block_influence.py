import math

import pytest
import torch

from slmrec.data.sequences import Sequences
from slmrec.distillation.block_influence import block_influence, most_influential
from slmrec.errors import SlmrecError
from slmrec.models.decoder import Decoder, DecoderShape


def silenced(decoder: Decoder, *layers: int) -> Decoder:
    """The decoder with some layers that add nothing to what enters them."""
    for layer in layers:
        torch.nn.init.zeros_(decoder.layers[layer].self_attn.o_proj.weight)
        torch.nn.init.zeros_(decoder.layers[layer].mlp.down_proj.weight)
    return decoder


def test_layer_that_adds_nothing_has_no_influence(make_decoder, cycles: Sequences) -> None:
    found = block_influence(silenced(make_decoder(max_length=8), 1, 3), cycles)
    assert [found[1], found[3]] == pytest.approx([0, 0], abs=1e-6)
    assert min(found[0], found[2]) > 0.01


def test_influence_is_one_minus_the_cosine_when_a_layer_turns_every_state_alike(
    cycles: Sequences,
) -> None:
    """Every item is embedded as (1, 0), and attention adds the normed value turned: (1, 0) → (1, 1)."""
    shape = DecoderShape(items=12, width=2, heads=1, feed_forward=(1,), max_length=8)
    decoder = silenced(Decoder(shape), 0)
    with torch.no_grad():
        decoder.items.weight.copy_(torch.tensor([1.0, 0.0]).expand(13, 2))
        layer = decoder.layers[0]
        layer.self_attn.v_proj.weight.copy_(torch.eye(2))
        # RMSNorm makes (√2, 0) of (1, 0)
        layer.self_attn.o_proj.weight.copy_(torch.tensor([[0.0, 0.0], [1 / math.sqrt(2), 0.0]]))
    assert block_influence(decoder, cycles) == pytest.approx([1 - math.sqrt(0.5)], abs=1e-5)


def test_influence_is_that_of_the_decoder_at_work_when_it_was_training(
    make_decoder, cycles: Sequences
) -> None:
    still = make_decoder(max_length=8)
    dropping = still.with_layers(range(4), dropout=0.5, embedding_dropout=0.5).train()
    assert block_influence(dropping, cycles) == block_influence(still, cycles)
    assert not any(layer._forward_hooks for layer in dropping.layers)


def test_influence_is_refused_when_nothing_can_be_read(make_decoder, make_sequences) -> None:
    with pytest.raises(SlmrecError, match="no user has two training interactions"):
        block_influence(make_decoder(), make_sequences([[1, 2, 3], [2, 3, 1]]))


def test_most_influential_layers_keep_their_order_and_the_first_wins_a_tie() -> None:
    assert most_influential([0.1, 0.5, 0.2, 0.9], 2) == [1, 3]
    assert most_influential([0.3, 0.1, 0.3, 0.3], 2) == [0, 2]
    assert most_influential([0.2, 0.1], 2) == [0, 1]
