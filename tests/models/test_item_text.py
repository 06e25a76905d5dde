from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import BertConfig, BertModel, LlamaModel, T5Config, T5Model

from slmrec.errors import ConfigError
from slmrec.models.hugging_face import Checkpoint, load_checkpoint
from slmrec.models.item_text import item_texts, text_embeddings, text_item_table
from slmrec.progress import Silent
from tests.language_models import VOCABULARY, save_llama, save_network, save_tokenizer

# As long as a title may be, one that looks like control tokens, one of unknown words, and none.
TEXTS = [
    "red shirt",
    "a blue shoe for children",
    "",
    "<s> <pad> hat",
    "zzz",
    "red " * 100,
    "red shirt",
]


@pytest.fixture
def encoder(tiny_llama: Path) -> Checkpoint:
    return load_checkpoint(str(tiny_llama), tiny_llama)


def test_text_is_title_and_category_of_those_that_have_them() -> None:
    items = pl.DataFrame(
        {
            "item_index": [1, 2, 3, 4, 5],
            "title": ["Red shirt", None, " ", "Hat", "x" * 3000],
            "category": ["Toys", "Books", None, "", None],
        }
    )
    assert item_texts(items) == ["Red shirt, Toys", "Books", "", "Hat", "x" * 2000]
    assert item_texts(items.drop("category")) == ["Red shirt", "", "", "Hat", "x" * 2000]


@pytest.mark.parametrize(
    "columns", [{}, {"title": [None, None]}, {"title": [" ", ""], "category": ["a", "b"]}]
)
def test_items_are_refused_when_none_has_a_title(columns: dict[str, list[str | None]]) -> None:
    items = pl.DataFrame(
        {"item_index": [1, 2], **columns}, schema_overrides=dict.fromkeys(columns, pl.String)
    )
    with pytest.raises(ConfigError, match=r"no item has a title; give the items' file"):
        item_texts(items)


def test_embedding_is_the_mean_state_over_a_texts_own_tokens(
    encoder: Checkpoint, tiny_llama: Path
) -> None:
    found, known = text_embeddings(TEXTS, encoder, torch.float32, Silent())
    llama = LlamaModel.from_pretrained(tiny_llama).eval()
    expected = {  # every text begins with <s>
        0: ["<s>", "red", "shirt"],
        1: ["<s>", "a", "blue", "shoe", "for", "children"],
        3: ["<s>", *["<unk>"] * 6, "hat"],  # < s > < pad > are six words
        4: ["<s>", "<unk>"],
        5: ["<s>", *["red"] * 63],
    }
    for row, words in expected.items():
        with torch.no_grad():
            states = llama(torch.tensor([[VOCABULARY[word] for word in words]])).last_hidden_state
        mean = states[0].mean(dim=0)
        torch.testing.assert_close(found[row], mean / mean.norm(), atol=1e-5, rtol=1e-4)
    assert known.tolist() == [True, True, False, True, True, True, True]
    assert found[2].abs().max() == 0


def test_table_starts_as_large_as_a_random_one_and_keeps_who_is_like_whom(
    encoder: Checkpoint,
) -> None:
    table = text_item_table(TEXTS, encoder, 6, 0, torch.float32, Silent())
    assert table.shape == (len(TEXTS) + 1, 6)
    assert table[1:].std().item() == pytest.approx(0.02, rel=1e-5)
    assert table[0].abs().max() == 0  # padding
    assert table[3].abs().max() == 0  # without text: the mean of the others
    torch.testing.assert_close(table[1:].sum(dim=0), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(table[1], table[7])  # the same text
    # six centred vectors, two of them equal, span four directions: six keep every dot product
    vectors, known = text_embeddings(TEXTS, encoder, torch.float32, Silent())
    centred = (vectors - vectors[known].mean(dim=0)) * known[:, None]
    cosine = torch.nn.functional.cosine_similarity
    torch.testing.assert_close(
        cosine(table[1], table[2], dim=0), cosine(centred[0], centred[1], dim=0), atol=1e-4, rtol=0
    )


def test_table_is_the_same_when_it_is_made_again(encoder: Checkpoint) -> None:
    first, second = (
        text_item_table(TEXTS, encoder, 6, 0, torch.float32, Silent()) for _ in range(2)
    )
    assert torch.equal(first, second)
    low = text_item_table(TEXTS, encoder, 6, 0, torch.bfloat16, Silent())
    assert low.dtype == torch.float32


def test_embedding_does_not_depend_on_what_shares_its_batch(encoder: Checkpoint) -> None:
    texts = ["red shirt"] + ["a blue shoe for children"] * 3
    together, _ = text_embeddings(texts, encoder, torch.float32, Silent())
    alone, _ = text_embeddings(texts[:1], encoder, torch.float32, Silent())
    torch.testing.assert_close(together[0], alone[0], atol=1e-6, rtol=1e-5)


def test_encoder_of_another_kind_is_read_too(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    bert = BertModel(config, add_pooling_layer=False)  # as one that was trained on words alone
    folder = save_tokenizer(save_network(tmp_path / "bert", bert))
    encoder = load_checkpoint(str(folder), tmp_path)
    found, _ = text_embeddings(["red shirt", "hat"], encoder, torch.float32, Silent())
    with torch.no_grad():
        mean = bert.eval()(torch.tensor([[0, *map(VOCABULARY.get, ("red", "shirt"))]]))[0][0].mean(
            0
        )
    torch.testing.assert_close(found[0], mean / mean.norm(), atol=1e-5, rtol=1e-4)


def test_encoder_with_a_decoder_is_refused(tmp_path: Path) -> None:
    t5 = T5Model(T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    folder = save_tokenizer(save_network(tmp_path / "t5", t5))
    encoder = load_checkpoint(str(folder), tmp_path)
    with pytest.raises(ConfigError, match="an encoder with a decoder"):
        text_embeddings(["red"], encoder, torch.float32, Silent())


def test_tokenizer_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    encoder = load_checkpoint(str(save_llama(tmp_path / "m", vocab_size=6)), tmp_path)
    with pytest.raises(ConfigError, match="its embeddings have 6 rows"):
        text_embeddings(["red shirt"], encoder, torch.float32, Silent())
