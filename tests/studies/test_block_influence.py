import numpy as np
import pytest
import torch

from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.studies.block_influence import block_influence

HISTORIES = [np.asarray(h, dtype=np.int32) for h in ([1, 2], [3, 4, 5, 6, 1])]


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(3)
    shape = DecoderShape(items=6, width=8, heads=2, feed_forward=(8, 8), max_length=4)
    decoder = Decoder(shape, dropout=0.5, embedding_dropout=0.5)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return decoder


def test_a_layer_that_adds_nothing_has_no_influence(model: Decoder) -> None:
    for linear in (model.layers[1].self_attn.o_proj, model.layers[1].mlp.down_proj):
        torch.nn.init.zeros_(linear.weight)
    first, second = block_influence(model, HISTORIES)
    assert first > 0.01
    assert second == pytest.approx(0, abs=1e-6)


def test_influence_is_one_less_the_mean_cosine_over_items_that_are_read(model: Decoder) -> None:
    found = block_influence(model, HISTORIES)
    cosines = []
    for history in ([1, 2], [4, 5, 6, 1]):  # four are read, without dropout
        items = torch.tensor([history])
        received = model.items(items)
        given = model.read(items, torch.arange(len(history))[None], None, 2).states[0]
        cosines += torch.cosine_similarity(received, given, dim=-1)[0].tolist()
    assert found[0] == pytest.approx(1 - sum(cosines) / 6, abs=1e-5)


def test_no_hook_is_left_behind(model: Decoder) -> None:
    block_influence(model, HISTORIES)
    assert all(not layer._forward_hooks for layer in model.layers)
