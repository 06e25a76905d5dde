import numpy as np
import pytest
import torch

from slmrec.compress.structure import (
    channel_importance,
    head_importance,
    prune_feed_forward,
    prune_heads,
    prune_layers,
)
from slmrec.models.decoder import Decoder, DecoderShape

SAMPLE = [np.asarray(history, dtype=np.int32) for history in ([1, 2, 3], [4, 5], [6])]


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(6)
    shape = DecoderShape(items=9, width=8, heads=2, feed_forward=(16, 16), max_length=5)
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def scores(model: Decoder) -> torch.Tensor:
    with torch.inference_mode():
        return model.catalogue_scores(torch.tensor([[1, 2, 3]]), torch.tensor([2]))


def test_scores_do_not_change_when_only_dead_channels_are_removed(model: Decoder) -> None:
    dead = [1, 2, 5, 7, 8, 11, 13, 14]
    for layer in model.layers:
        layer.mlp.down_proj.weight.data[:, dead] = 0
    pruned = prune_feed_forward(model, 0.5, SAMPLE)
    assert pruned.shape.feed_forward == (8, 8)
    torch.testing.assert_close(scores(pruned), scores(model), atol=1e-5, rtol=1e-5)


def test_importance_is_mean_activity_times_the_norm_of_what_is_written(model: Decoder) -> None:
    found = channel_importance(model, [np.asarray([4], dtype=np.int32)])[0]
    layer = model.layers[0]
    with torch.inference_mode():
        hidden = model.items(torch.tensor([[4]]))
        value = layer.self_attn.o_proj(layer.self_attn.v_proj(layer.input_layernorm(hidden)))
        inside = layer.mlp.channels(layer.post_attention_layernorm(hidden + value))[0, 0]
    expected = inside.abs() * layer.mlp.down_proj.weight.norm(dim=0)
    torch.testing.assert_close(found, expected)


def test_importance_ignores_padding(model: Decoder) -> None:
    alone = channel_importance(model, [SAMPLE[1]])
    padded = channel_importance(model, [SAMPLE[1], SAMPLE[1], np.asarray([4, 5], dtype=np.int32)])
    torch.testing.assert_close(alone[1], padded[1])
    mixed = channel_importance(model, SAMPLE)
    one_by_one = [channel_importance(model, [history])[1] for history in SAMPLE]
    weights = [len(history) / 6 for history in SAMPLE]
    expected = sum(w * importance for w, importance in zip(weights, one_by_one, strict=True))
    torch.testing.assert_close(mixed[1], expected)


def test_fewer_channels_mean_fewer_backbone_parameters(model: Decoder) -> None:
    pruned = prune_feed_forward(model, 0.5, SAMPLE)
    removed = 2 * 3 * 8 * 8  # two layers, three maps, eight channels of width eight
    assert model.parameters_backbone() - pruned.parameters_backbone() == removed


def test_scores_do_not_change_when_only_a_dead_head_is_removed(model: Decoder) -> None:
    for layer, dead in zip(model.layers, (0, 1), strict=True):
        layer.self_attn.o_proj.weight.data[:, 4 * dead : 4 * dead + 4] = 0
    pruned = prune_heads(model, 0.5, SAMPLE)
    assert pruned.shape.kept_heads == (1, 1)
    torch.testing.assert_close(scores(pruned), scores(model), atol=1e-5, rtol=1e-5)
    # four maps of two layers lose four rows or columns of width eight
    assert model.parameters_backbone() - pruned.parameters_backbone() == 2 * 4 * 4 * 8


def test_importance_of_a_head_is_the_length_of_what_it_writes(model: Decoder) -> None:
    found = head_importance(model, [np.asarray([4], dtype=np.int32)])[0]
    layer = model.layers[0]
    with torch.inference_mode():
        value = layer.self_attn.v_proj(layer.input_layernorm(model.items(torch.tensor([4]))))[0]
        columns = layer.self_attn.o_proj.weight
        expected = [(columns[:, h : h + 4] @ value[h : h + 4]).norm() for h in (0, 4)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_at_least_one_head_stays(model: Decoder) -> None:
    assert prune_heads(model, 0.01, SAMPLE).shape.kept_heads == (1, 1)


def test_layers_are_kept_in_their_order_with_what_was_pruned_of_them(model: Decoder) -> None:
    narrow = prune_feed_forward(model, 0.5, SAMPLE)
    whole = narrow.with_layers([0, 1], 0.0, 0.0)
    torch.testing.assert_close(scores(whole), scores(narrow))
    second = prune_layers(prune_heads(model, 0.5, SAMPLE), [1])
    assert second.shape.layers == 1
    assert second.shape.kept_heads == (1,)
