from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    Gemma2Config,
    GemmaConfig,
    LlamaModel,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.config import PretrainedCheckpoint
from slmrec.errors import ArtifactError, ConfigError
from slmrec.models.checkpoint import SHAPE, load_model, write_model
from slmrec.models.encoder import packed_mask, right_padded
from slmrec.models.hugging_face import load_checkpoint
from slmrec.models.loading import load_scorer
from slmrec.models.pretrained import PretrainedDecoder, open_decoder
from tests.language_models import SIZE, save_causal, save_llama, save_network

ITEMS = 20
PROMPT = "the history follows"


def opened(
    folder: Path, *, width: int = 32, max_length: int = 8, table: Any = None, **settings: Any
) -> PretrainedDecoder:
    torch.manual_seed(1)
    chosen = PretrainedCheckpoint(
        checkpoint=str(folder), **{"layers": 2, "prompt": PROMPT, "lora_rank": 4} | settings
    )
    checkpoint = load_checkpoint(str(folder), folder)
    return open_decoder(
        checkpoint,
        chosen,
        items=ITEMS,
        width=width,
        max_length=max_length,
        embedding_dropout=0.0,
        item_vectors=table,
    ).eval()


def transparent(model: PretrainedDecoder) -> PretrainedDecoder:
    """Maps that change nothing, and item embeddings as large as tokens."""
    torch.nn.init.eye_(model.up.weight)
    torch.nn.init.eye_(model.down.weight)
    torch.nn.init.normal_(model.items.weight, std=0.2)
    return model


def trained(model: PretrainedDecoder) -> PretrainedDecoder:
    """As if the adapters had learned something: at first they add nothing."""
    torch.manual_seed(2)
    for name, parameter in model.network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def states(model: PretrainedDecoder, items: list[int], blocks: int = 1) -> list[torch.Tensor]:
    """States of one history alone, each [length, width]."""
    with torch.inference_mode():
        found = model(torch.tensor([items]), torch.arange(len(items))[None], blocks=blocks)
    return [state[0] for state in found]


def store(folder: Path, model: PretrainedDecoder) -> Artifact:
    with publish(folder, "teacher", properties={"name": "teacher"}) as staging:
        write_model(staging, model)
    return open_artifact(folder)


@pytest.mark.parametrize("prompt", ["", PROMPT])
def test_states_equal_those_of_transformers_when_the_adapters_are_untouched(
    tiny_llama: Path, prompt: str
) -> None:
    model = transparent(opened(tiny_llama, prompt=prompt))
    items = [3, 7, 1, 20, 5]
    llama = LlamaModel.from_pretrained(tiny_llama).eval()
    with torch.inference_mode():
        words = llama.embed_tokens(torch.tensor([[0, 7, 5, 6]] if prompt else [[]]).long())
        rows = torch.cat((words, model.items(torch.tensor([items]))), dim=1)
        hidden = llama(inputs_embeds=rows, output_hidden_states=True).hidden_states
        expected = [hidden[1][0, -5:], llama.norm(hidden[2])[0, -5:]]
    assert model.shape.prompt_tokens == ((0, 7, 5, 6) if prompt else ())  # <s> and three words
    for mine, theirs in zip(states(model, items, blocks=2), expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_adapters_add_their_scaled_product_to_the_weights_beside_them(tiny_llama: Path) -> None:
    model = trained(transparent(opened(tiny_llama, prompt="", lora_alpha=12)))
    llama = LlamaModel.from_pretrained(tiny_llama).eval()
    learned = {n: p.detach() for n, p in model.network.named_parameters() if "lora" in n}
    for layer in (0, 1):
        for name in ("gate_proj", "up_proj", "down_proj"):
            a = learned[f"layers.{layer}.mlp.{name}.lora_A.default.weight"]
            b = learned[f"layers.{layer}.mlp.{name}.lora_B.default.weight"]
            getattr(llama.layers[layer].mlp, name).weight.data += 12 / 4 * b @ a
    with torch.inference_mode():
        rows = model.items(torch.tensor([[3, 7, 1]]))
        hidden = llama(inputs_embeds=rows, output_hidden_states=True).hidden_states
        expected = llama.norm(hidden[2])[0]
    torch.testing.assert_close(states(model, [3, 7, 1])[-1], expected, atol=1e-4, rtol=1e-4)


FAMILIES = [
    MistralConfig(**SIZE, sliding_window=64),
    Qwen2Config(**SIZE),
    Qwen3Config(**SIZE),
    GemmaConfig(**SIZE),
    Gemma2Config(**SIZE, query_pre_attn_scalar=8, sliding_window=64),
]


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.model_type)
def test_other_families_give_their_own_states_and_keep_packed_histories_apart(
    tmp_path: Path, config: PreTrainedConfig
) -> None:
    folder = save_causal(tmp_path / config.model_type, config)
    model = transparent(opened(folder, prompt=""))
    body = AutoModel.from_pretrained(folder).eval()
    items = [3, 7, 1, 20]
    with torch.inference_mode():
        rows = model.items(torch.tensor([items]))
        hidden = body(inputs_embeds=rows, output_hidden_states=True).hidden_states
        expected = body.norm(hidden[2])[0]
    torch.testing.assert_close(states(model, items)[-1], expected, atol=1e-4, rtol=1e-4)
    check_packing(model)


def check_packing(model: PretrainedDecoder) -> None:
    first, second = [3, 7, 1], [20, 5, 6, 9]
    packed = torch.tensor([[*first, *second, 0]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 0]])
    segments = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0]])
    with torch.inference_mode():
        together = model(packed, positions, packed_mask(segments), blocks=2)
    for block in (0, 1):
        row = together[block][0]
        for history, place in ((first, slice(0, 3)), (second, slice(3, 7))):
            alone = states(model, history, blocks=2)[block]
            torch.testing.assert_close(row[place], alone, atol=1e-4, rtol=1e-4)


def test_packed_history_gives_the_states_it_has_alone_when_a_prompt_stands_in_front(
    tiny_llama: Path,
) -> None:
    model = trained(opened(tiny_llama, width=12))
    check_packing(model)
    # and the prompt does say something
    silent = trained(opened(tiny_llama, width=12, prompt=""))
    assert (states(model, [3, 7])[-1] - states(silent, [3, 7])[-1]).abs().max() > 1e-3


def test_state_does_not_change_when_future_items_change(tiny_llama: Path) -> None:
    model = trained(opened(tiny_llama, width=12))
    one, other = states(model, [3, 7, 1, 20, 5])[-1], states(model, [3, 7, 1, 2, 19])[-1]
    torch.testing.assert_close(one[:3], other[:3], atol=0, rtol=0)
    assert (one[3:] - other[3:]).abs().max() > 1e-4


def test_scores_do_not_depend_on_padding_when_batched_with_a_longer_history(
    tiny_llama: Path,
) -> None:
    model = trained(opened(tiny_llama, width=12))
    short, long = np.asarray([4, 8], np.int32), np.asarray([4, 8, 15, 16, 2], np.int32)
    with torch.inference_mode():
        batched = model.catalogue_scores(*right_padded([short, long], 8))[0]
        alone = model.catalogue_scores(*right_padded([short], 8))[0]
    torch.testing.assert_close(batched, alone, atol=1e-5, rtol=1e-5)


def test_only_items_maps_and_adapters_learn(tiny_llama: Path) -> None:
    model = trained(opened(tiny_llama, width=12)).train()
    model(torch.tensor([[3, 7]]), torch.tensor([[0, 1]]))[-1].square().sum().backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    adapters = {
        f"network.layers.{layer}.mlp.{name}.lora_{part}.default.weight"
        for layer in (0, 1)
        for name in ("gate_proj", "up_proj", "down_proj")
        for part in "AB"
    }
    assert learning == {"items.weight", "up.weight", "down.weight"} | adapters
    assert learning == {n for n, parameter in model.named_parameters() if parameter.requires_grad}


def test_items_enter_as_large_as_tokens_whatever_they_start_from(tiny_llama: Path) -> None:
    table = torch.randn(ITEMS + 1, 12, generator=torch.Generator().manual_seed(0)) * 5
    model = opened(tiny_llama, width=12, table=table)
    assert torch.equal(model.items.weight, table)
    tokens = LlamaModel.from_pretrained(tiny_llama).embed_tokens.weight
    entering = model.up(model.items.weight[1:])
    assert entering.std().item() == pytest.approx(tokens.std().item(), rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stored_model_gives_identical_scores_without_its_checkpoint(
    tmp_path: Path, precision: str
) -> None:
    folder = save_llama(tmp_path / "checkpoint")
    model = trained(opened(folder, width=12, precision=precision))
    assert {p.dtype for n, p in model.network.named_parameters() if "lora" not in n} == {
        model.shape.dtype
    }
    items, last = torch.tensor([[1, 2, 3]]), torch.tensor([2])
    with torch.inference_mode():
        unmerged = model.catalogue_scores(items, last)
        artifact = store(tmp_path / "m", model)
        expected = model.catalogue_scores(items, last)
        for path in sorted(folder.iterdir()):
            path.unlink()
        again = load_model(artifact)
        assert torch.equal(again.catalogue_scores(items, last), expected)
    rounding = 1e-5 if precision == "float32" else 2**-6
    torch.testing.assert_close(
        expected, unmerged, atol=rounding * unmerged.abs().max().item(), rtol=0
    )
    scores = load_scorer(tmp_path / "m").scores([np.asarray([1, 2, 3], dtype=np.int32)])
    np.testing.assert_array_equal(scores, expected.numpy())
    assert not any(parameter.requires_grad for parameter in again.network.parameters())


def test_stored_model_needs_no_peft_and_no_token_embeddings(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = store(tmp_path / "m", opened(tiny_llama, width=12))
    monkeypatch.setitem(__import__("sys").modules, "peft", None)  # importing it would fail
    model = load_model(artifact)
    assert not [name for name in model.state_dict() if "lora" in name or "embed_tokens" in name]
    # a layer: queries and outputs 32 × 32, keys and values 32 × 16, 3 maps 32 × 48, 2 norms
    layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32
    assert model.parameters_backbone() == 2 * layer + 32 + 2 * 12 * 32
    assert model.parameters_total() == model.parameters_backbone() + (ITEMS + 1) * 12


def test_same_model_gives_the_same_bytes_wherever_its_checkpoint_lies(tmp_path: Path) -> None:
    digests = {
        store(tmp_path / name / "m", opened(save_llama(tmp_path / name / "checkpoint"))).digest
        for name in ("a", "b")
    }
    assert len(digests) == 1


def test_stored_model_of_an_unknown_family_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    model = opened(tiny_llama, width=12)
    with publish(tmp_path / "m", "teacher", properties={"name": "teacher"}) as staging:
        write_model(staging, model)
        described = model.shape.model_dump()
        described["language_model"]["model_type"] = "oracle"
        write_json(staging / SHAPE, {"model": "PretrainedDecoder", **described})
    with pytest.raises(ArtifactError, match="a stored 'oracle' cannot be built"):
        load_model(open_artifact(tmp_path / "m"))


def test_blocks_are_refused_when_they_do_not_divide_the_layers(tiny_llama: Path) -> None:
    with pytest.raises(ConfigError, match="2 blocks do not divide 3 layers"):
        states(opened(tiny_llama, layers=3), [1], blocks=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 4}, "layers is 4, and .*tiny-llama has 3; ask for 3 or fewer"),
        ({"lora_modules": ("gate_proj", "wide")}, "have no wide; choose from .*down_proj.*q_proj"),
        ({"max_length": 125}, "max_position_embeddings is 128, prompt and history need 129"),
    ],
)
def test_setting_that_does_not_fit_the_checkpoint_is_refused(
    tiny_llama: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(tiny_llama, **settings)


def test_checkpoint_whose_layers_see_less_than_a_history_is_refused(tmp_path: Path) -> None:
    folder = save_causal(tmp_path / "m", MistralConfig(**SIZE, sliding_window=6))
    with pytest.raises(ConfigError, match="sliding_window is 6, prompt and history need 8"):
        opened(folder, prompt="")


def test_prompt_is_refused_when_there_is_no_tokenizer(tmp_path: Path) -> None:
    folder = save_causal(tmp_path / "m", Qwen2Config(**SIZE))
    with pytest.raises(ConfigError, match=r"no tokenizer in it.*prompt to ''"):
        opened(folder)
    assert opened(folder, prompt="").shape.prompt_tokens == ()


def test_tokenizer_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "m", vocab_size=6)
    with pytest.raises(ConfigError, match="gives the token 7, its embeddings have 6 rows"):
        opened(folder)


def test_network_of_another_build_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    folder = save_network(tmp_path / "bert", BertModel(config))
    with pytest.raises(ConfigError, match="BertModel without embed_tokens, layers, norm, rotary"):
        opened(folder, prompt="")


def test_network_that_ignores_masks_is_refused(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = LlamaModel.forward

    def careless(self: LlamaModel, *args: Any, **kwargs: Any) -> Any:
        return forward(self, *args, **kwargs | {"attention_mask": None, "position_ids": None})

    monkeypatch.setattr(LlamaModel, "forward", careless)
    with pytest.raises(ConfigError, match="looks where a mask forbids it"):
        opened(tiny_llama)
