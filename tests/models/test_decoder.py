import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import packed_mask, right_padded


def shape(**changes: object) -> DecoderShape:
    values = {"items": 20, "width": 16, "heads": 2, "feed_forward": (24, 24), "max_length": 8}
    return DecoderShape.model_validate(values | changes)


def random_decoder(**changes: object) -> Decoder:
    torch.manual_seed(1)
    model = Decoder(shape(**changes)).eval()
    for parameter in model.parameters():  # so that no path is negligible
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def hugging_face(ours: Decoder) -> LlamaModel:
    """The same weights in `transformers`; `eager` is its only attention that shows its weights."""
    config = LlamaConfig(
        vocab_size=21,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        rms_norm_eps=1e-6,
        rope_theta=10_000.0,
        pad_token_id=0,
        attn_implementation="eager",
    )
    theirs = LlamaModel(config).eval()
    renamed = {name.replace("items.", "embed_tokens."): t for name, t in ours.state_dict().items()}
    theirs.load_state_dict(renamed)
    return theirs


def test_states_equal_hugging_face_llama_when_weights_are_equal() -> None:
    ours = random_decoder()
    theirs = hugging_face(ours)
    items = torch.tensor([[3, 7, 1, 20, 5], [9, 9, 2, 4, 11]])
    positions = torch.arange(5).expand(2, 5)
    with torch.inference_mode():
        found = ours(items, positions, blocks=2)
        expected = theirs(items, output_hidden_states=True)
    torch.testing.assert_close(found[-1], expected.last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[0], expected.hidden_states[1], atol=1e-5, rtol=1e-5)


def test_attention_equals_hugging_face_llama_when_weights_are_equal() -> None:
    ours = random_decoder()
    items = torch.tensor([[3, 7, 1, 20, 5], [9, 9, 2, 4, 11]])
    positions = torch.arange(5).expand(2, 5)
    with torch.inference_mode():
        expected = hugging_face(ours)(items, output_attentions=True).attentions
        each_layer = ours.read(items, positions, blocks=2, attention=True).attention
        last_layer = ours.read(items, positions, blocks=1, attention=True).attention
    assert (len(each_layer), len(last_layer)) == (2, 1)
    for found, heads in zip([*each_layer, *last_layer], [*expected, expected[1]], strict=True):
        torch.testing.assert_close(found, heads.mean(dim=1), atol=1e-5, rtol=1e-5)


def packed() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Items, positions and segments of a row with histories of 3 and 4 items and one padding."""
    return (
        torch.tensor([[3, 7, 1, 20, 5, 6, 9, 0]]),
        torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0]]),
        torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0]]),
    )


def test_attention_sums_to_one_and_is_zero_for_other_histories_the_future_and_padding() -> None:
    items, positions, segments = packed()
    with torch.inference_mode():
        hidden = random_decoder().read(items, positions, packed_mask(segments), attention=True)
    rows = hidden.attention[0][0]
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(8))
    seen = {(row, column) for row, column in rows.nonzero().tolist()}
    first = {(row, column) for row in range(3) for column in range(row + 1)}
    second = {(row, column) for row in range(3, 7) for column in range(3, row + 1)}
    assert seen == first | second | {(7, 7)}


def test_states_are_the_same_bits_when_attention_is_asked_for() -> None:
    model = random_decoder()
    items, positions, segments = packed()
    with torch.inference_mode():
        plain = model.read(items, positions, packed_mask(segments), blocks=2)
        asked = model.read(items, positions, packed_mask(segments), blocks=2, attention=True)
    assert plain.attention == []
    assert all(torch.equal(a, b) for a, b in zip(plain.states, asked.states, strict=True))


def test_attention_carries_gradients_to_queries_keys_and_what_is_below() -> None:
    model = random_decoder()
    items, positions, segments = packed()
    hidden = model.read(items, positions, packed_mask(segments), attention=True)
    hidden.attention[0].square().sum().backward()
    last = model.layers[1].self_attn
    for weight in (last.q_proj.weight, last.k_proj.weight, model.layers[0].self_attn.v_proj.weight):
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0
    assert last.v_proj.weight.grad is None  # values do not decide where one looks


def test_state_does_not_change_when_future_items_change() -> None:
    model = random_decoder()
    positions = torch.arange(6).expand(1, 6)
    items = torch.tensor([[3, 7, 1, 20, 5, 6]])
    other = torch.tensor([[3, 7, 1, 2, 19, 13]])
    with torch.inference_mode():
        same = model(items, positions)[-1][:, :3] - model(other, positions)[-1][:, :3]
        later = model(items, positions)[-1][:, 3:] - model(other, positions)[-1][:, 3:]
    assert same.abs().max() == 0
    assert later.abs().max() > 1e-3


def test_packed_history_gives_the_states_it_has_alone() -> None:
    model = random_decoder()
    first, second = [3, 7, 1], [20, 5, 6, 9]
    packed = torch.tensor([[*first, *second, 0]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0]])
    segments = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0]])
    with torch.inference_mode():
        together = model(packed, positions, packed_mask(segments))[-1][0]
        alone = [
            model(torch.tensor([h]), torch.arange(len(h))[None])[-1][0] for h in (first, second)
        ]
    torch.testing.assert_close(together[:3], alone[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[3:7], alone[1], atol=1e-5, rtol=1e-5)


def test_scores_do_not_depend_on_padding_when_batched_with_a_longer_history() -> None:
    model = random_decoder()
    short = torch.tensor([4, 8], dtype=torch.int32).numpy()
    long = torch.tensor([4, 8, 15, 16, 2], dtype=torch.int32).numpy()
    with torch.inference_mode():
        batched = model.catalogue_scores(*right_padded([short, long], 8))[0]
        alone = model.catalogue_scores(*right_padded([short], 8))[0]
    torch.testing.assert_close(batched, alone, atol=1e-5, rtol=1e-5)


def test_chosen_layers_embeddings_and_norm_are_copies_of_the_teachers() -> None:
    teacher = random_decoder(feed_forward=(24, 16, 24, 8))
    student = teacher.with_layers([1, 3], dropout=0.0, embedding_dropout=0.0)
    assert student.shape.feed_forward == (16, 8)
    for name, tensor in student.state_dict().items():
        theirs = name.replace("layers.1.", "layers.3.").replace("layers.0.", "layers.1.")
        assert torch.equal(tensor, teacher.state_dict()[theirs])
        assert tensor.data_ptr() != teacher.state_dict()[theirs].data_ptr()


def test_layers_are_refused_when_the_decoder_does_not_have_them() -> None:
    with pytest.raises(ConfigError, match="a decoder that has 2"):
        random_decoder().with_layers([0, 1, 2], dropout=0.0, embedding_dropout=0.0)


def test_backbone_is_everything_but_the_item_table() -> None:
    model = random_decoder()
    # a layer: 4 square maps, 3 feed-forward maps, 2 norms; and the final norm
    layer = 4 * 16 * 16 + 3 * 16 * 24 + 2 * 16
    assert model.parameters_backbone() == 2 * layer + 16
    assert model.parameters_total() == 2 * layer + 16 + 21 * 16


def test_blocks_are_refused_when_they_do_not_divide_the_layers() -> None:
    model = random_decoder(feed_forward=(24, 24, 24))
    with pytest.raises(ConfigError, match="2 blocks do not divide 3 layers"):
        model(torch.ones(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64), blocks=2)


def test_history_is_cut_to_its_newest_items_when_longer_than_the_model_reads() -> None:
    history = torch.arange(1, 13, dtype=torch.int32).numpy()
    items, last = right_padded([history], 8)
    assert items.tolist() == [[5, 6, 7, 8, 9, 10, 11, 12]]
    assert last.tolist() == [7]


def test_newest_states_are_those_that_all_positions_would_have() -> None:
    for changes in ({}, {"feed_forward": (24,)}, {"kept_heads": (1, 2)}):
        model = random_decoder(**changes)
        histories = [np.arange(1, 9), np.asarray([5]), np.asarray([7, 3, 2]), np.zeros(0)]
        items, last = right_padded([h.astype(np.int32) for h in histories], 8)
        positions = torch.arange(8).expand_as(items)
        everywhere = model(items, positions)[-1]
        expected = torch.stack([row[place] for row, place in zip(everywhere, last, strict=True)])
        torch.testing.assert_close(model.last_states(items, last), expected)


def test_a_training_computes_what_an_evaluation_does() -> None:
    torch.manual_seed(0)
    shape = DecoderShape(items=30, width=16, heads=4, feed_forward=(24, 8), max_length=6)
    model = Decoder(shape.model_copy(update={"kept_heads": (4, 3)}))
    items = torch.randint(1, 31, (3, 6))
    positions = torch.arange(6).expand(3, 6)
    found = []
    for train in (True, False):
        model.train(train).zero_grad()
        state = model(items, positions)[-1]
        state.square().sum().backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        found.append([state.detach(), *gradients])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)
