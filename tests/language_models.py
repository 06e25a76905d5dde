"""Tiny language models with a tokenizer, written the way that real checkpoints are."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

WORDS = """
<s> <pad> <unk> a person history follows the oldest item first predict that comes next red blue
green shirt shoe hat toys books kitchen for children adults
"""
VOCABULARY = {word: number for number, word in enumerate(WORDS.split())}
SIZE = {
    "vocab_size": 200,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 1,
}


def save_network(folder: Path, network: PreTrainedModel) -> Path:
    """Save a network whose weights are all large enough to matter."""
    torch.manual_seed(3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path) -> Path:
    """Save a tokenizer of whole words that begins every text with `<s>`."""
    tokenizer = Tokenizer(WordLevel(VOCABULARY, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)
    return folder


def save_llama(folder: Path, **changes: object) -> Path:
    """Save a Llama of three layers with its tokenizer."""
    from transformers import LlamaForCausalLM

    save_network(folder, LlamaForCausalLM(LlamaConfig(**SIZE | changes)))
    return save_tokenizer(folder)


def save_causal(folder: Path, config: PreTrainedConfig) -> Path:
    """Save a causal language model of another family, without a tokenizer."""
    from transformers import AutoModelForCausalLM

    return save_network(folder, AutoModelForCausalLM.from_config(config))
