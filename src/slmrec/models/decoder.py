"""A Llama-architecture decoder over item embeddings: the teacher, and with fewer layers the student.

The modules compute what Hugging Face's Llama computes and use its parameter names inside a layer,
which a test checks against `transformers`. Ours adds what a recommender needs: item embeddings that
are also the output head, dropout, hidden states at block ends, and feed-forward widths that pruning
may make different in every layer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from slmrec.config import Section
from slmrec.errors import ConfigError
from slmrec.models.attention import attend
from slmrec.models.dropout import Dropout
from slmrec.models.encoder import SequenceEncoder, at_last
from slmrec.models.memory import CountedMemory
from slmrec.models.rotary import Rotation, rotate, rotation


class DecoderShape(Section):
    """Everything needed to build a decoder before its weights are loaded."""

    items: int
    """Catalogue size, padding not counted."""
    width: int
    heads: int
    """Their number where none was pruned; `width / heads` is the width of each."""
    kept_heads: tuple[int, ...] = ()
    """Heads that pruning left in each layer; empty: all of them everywhere."""
    feed_forward: tuple[int, ...]
    """Inner width of each layer's feed-forward network; its length is the number of layers."""
    max_length: int
    memory: int = 0
    """Transitions that a memory keeps of each item; 0: there is no memory."""
    rms_epsilon: float = 1e-6
    rope_theta: float = 10_000.0

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return len(self.feed_forward)

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    def heads_of(self, layer: int) -> int:
        """Heads of a layer, counted from 0."""
        return self.kept_heads[layer] if self.kept_heads else self.heads

    @model_validator(mode="after")
    def _kept_heads_fit(self) -> "DecoderShape":
        kept = self.kept_heads
        if kept and (len(kept) != self.layers or not all(0 < n <= self.heads for n in kept)):
            raise ValueError(
                f"kept_heads is {kept}; expected for each of {self.layers} layers 1 to {self.heads}"
            )
        return self

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "DecoderShape":
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"{self.heads} heads do not divide width {self.width} into even parts")
        return self


@dataclass(frozen=True)
class HiddenStates:
    """What a forward pass leaves behind at the end of each block of layers."""

    states: list[Tensor]
    """Each [batch, length, width]; the last one normed."""
    attention: list[Tensor]
    """Each float32 [batch, length, length]: where a position (row) looked in the block's last layer,
    the mean over its heads. Empty when it was not asked for."""


class Attention(nn.Module):
    """Causal multi-head attention with rotary positions."""

    def __init__(self, shape: DecoderShape, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * shape.head_width
        self.q_proj = nn.Linear(shape.width, inner, bias=False)
        self.k_proj = nn.Linear(shape.width, inner, bias=False)
        self.v_proj = nn.Linear(shape.width, inner, bias=False)
        self.o_proj = nn.Linear(inner, shape.width, bias=False)

    def forward(self, hidden: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        """Mix positions: [batch, length, width] → the same shape."""
        out: Tensor = self.o_proj(self.mixed(hidden, rotation, mask))
        return out

    def mixed(self, hidden: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        """What the heads gather, one beside the other: [batch, length, heads · head width]."""
        if self.training:
            query, key, value = self._at_once(hidden, rotation)
        else:
            query, key = self._query_and_key(hidden, rotation)
            value = self._split(self.v_proj(hidden))
        return attend(query, key, value, mask).transpose(1, 2).flatten(2)

    def newest(
        self, hidden: Tensor, rotation: Rotation, own_rotation: Rotation, last: Tensor
    ) -> Tensor:
        """`forward` at one position of each row, the newest: [batch, length, width] → [batch, width].

        `last` int64 [batch] is that position and `own_rotation` the rotation there; what stands behind
        it is padding.
        """
        own = at_last(hidden, last)[:, None]
        query = rotate(self._split(self.q_proj(own)), own_rotation)
        key = rotate(self._split(self.k_proj(hidden)), rotation)
        places = torch.arange(hidden.shape[1], device=hidden.device)
        seen = places <= last[:, None, None, None]  # [batch, 1, 1, length]
        gathered = attend(query, key, self._split(self.v_proj(hidden)), seen)
        out: Tensor = self.o_proj(gathered.flatten(1))
        return out

    def rows(self, hidden: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        """Where each position looks, the mean over heads: float32 [batch, length, length].

        A row sums to 1 and is zero where the mask is false. `forward` never holds these weights, so
        what it gives is the same bits whether they are asked for or not.
        """
        query, key = self._query_and_key(hidden, rotation)
        logits = (query @ key.transpose(2, 3)).float() / math.sqrt(query.shape[-1])
        if mask is None:
            mask = torch.ones(logits.shape[2:], dtype=torch.bool, device=logits.device).tril()
        return logits.masked_fill(~mask, -torch.inf).softmax(dim=-1).mean(dim=1)

    def _at_once(self, hidden: Tensor, rotation: Rotation) -> tuple[Tensor, ...]:
        """Queries, keys and values by one product: less is cast and added up on the way back."""
        weights = [part.weight for part in (self.q_proj, self.k_proj, self.v_proj)]
        batch, length, _ = hidden.shape
        projected = F.linear(hidden, torch.cat(weights))
        if projected.device.type == "cpu":
            projected = projected.float()  # as attention is computed there
        parts = projected.view(
            batch, length, 3 * self.heads, weights[0].shape[0] // self.heads
        ).transpose(1, 2)
        turned, value = torch.split(parts, [2 * self.heads, self.heads], dim=1)
        query, key = rotate(turned, rotation).chunk(2, dim=1)
        return query, key, value

    def _query_and_key(self, hidden: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        query = rotate(self._split(self.q_proj(hidden)), rotation)
        return query, rotate(self._split(self.k_proj(hidden)), rotation)

    def _split(self, x: Tensor) -> Tensor:  # → [batch, heads, length, head width]
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class FeedForward(nn.Module):
    """Gated feed-forward network (SwiGLU)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def channels(self, hidden: Tensor) -> Tensor:
        """Activations of the inner channels: [..., width] → [..., inner]."""
        if not self.training:
            return F.silu(self.gate_proj(hidden)) * self.up_proj(hidden)
        weights = torch.cat((self.gate_proj.weight, self.up_proj.weight))
        gate, up = F.linear(hidden, weights).chunk(2, dim=-1)
        return F.silu(gate) * up

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., width] → [..., width]."""
        out: Tensor = self.down_proj(self.channels(hidden))
        return out


class DecoderLayer(nn.Module):
    """One pre-norm Llama layer with dropout on both residual branches."""

    def __init__(self, shape: DecoderShape, number: int, dropout: float) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.width, eps=shape.rms_epsilon)
        self.self_attn = Attention(shape, shape.heads_of(number))
        self.post_attention_layernorm = nn.RMSNorm(shape.width, eps=shape.rms_epsilon)
        self.mlp = FeedForward(shape.width, shape.feed_forward[number])
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        """[batch, length, width] → the same shape."""
        attended = self.self_attn(self.input_layernorm(hidden), rotation, mask)
        hidden = hidden + self.dropout(attended)
        return hidden + self.dropout(self.mlp(self.post_attention_layernorm(hidden)))

    def newest(
        self, hidden: Tensor, rotation: Rotation, own_rotation: Rotation, last: Tensor
    ) -> Tensor:
        """`forward` at the newest position alone: [batch, length, width] → [batch, width]."""
        normed = self.input_layernorm(hidden)
        attended = self.self_attn.newest(normed, rotation, own_rotation, last)
        own = at_last(hidden, last) + self.dropout(attended)
        return own + self.dropout(self.mlp(self.post_attention_layernorm(own)))

    def attention_rows(self, hidden: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        """`Attention.rows` of what enters the layer."""
        return self.self_attn.rows(self.input_layernorm(hidden), rotation, mask)


class Decoder(SequenceEncoder):
    """Item embeddings, decoder layers, final norm; scores are dot products with the embeddings."""

    def __init__(
        self, shape: DecoderShape, dropout: float = 0.0, embedding_dropout: float = 0.0
    ) -> None:
        super().__init__(shape.items, shape.width, shape.max_length)
        self.shape = shape
        self.embedding_dropout = Dropout(embedding_dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(shape, number, dropout) for number in range(shape.layers)
        )
        self.norm = nn.RMSNorm(shape.width, eps=shape.rms_epsilon)
        if shape.memory:
            self.memory = CountedMemory(shape.items, shape.memory)
        self.reset_parameters()

    def _rotation(self, positions: Tensor) -> Rotation:
        return rotation(positions, self.shape.head_width, self.shape.rope_theta)

    def reset_parameters(self) -> None:
        """Normal(0, 0.02); what writes into the residual stream is scaled down with depth."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    parameter.data.div_(math.sqrt(2 * self.shape.layers))
        self.items.weight.data[0].zero_()

    def forward(
        self, items: Tensor, positions: Tensor, mask: Tensor | None = None, blocks: int = 1
    ) -> list[Tensor]:
        """Hidden states at the end of each of `blocks` equal groups of layers.

        `items`, `positions` int64 [batch, length]; `mask` bool [batch, 1, length, length], true
        where a query (row) may look, none for plain causal. Returns `blocks` tensors
        [batch, length, width], the last one normed: it is what items are scored with.
        """
        return self.read(items, positions, mask, blocks).states

    def last_states(self, items: Tensor, last: Tensor) -> Tensor:
        """States after the newest item: [batch, width]; the last layer works for that place alone."""
        positions = torch.arange(items.shape[1], device=items.device)[None]
        hidden = self.embedding_dropout(self.items(items))
        rotation, own_rotation = (self._rotation(at) for at in (positions, last[:, None]))
        *before, final = self.layers
        for layer in before:
            hidden = layer(hidden, rotation, None)
        out: Tensor = self.norm(final.newest(hidden, rotation, own_rotation, last))  # type: ignore[operator]
        return out

    def read(
        self,
        items: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        blocks: int = 1,
        *,
        attention: bool = False,
    ) -> HiddenStates:
        """What `forward` gives and, where asked for, the attention of each block's last layer.

        Both carry gradients. Raises `ConfigError` when the blocks do not divide the layers.
        """
        if len(self.layers) % blocks:
            raise ConfigError(f"{blocks} blocks do not divide {len(self.layers)} layers")
        every = len(self.layers) // blocks
        hidden = self.embedding_dropout(self.items(items))
        rotation = self._rotation(positions)
        states: list[Tensor] = []
        rows: list[Tensor] = []
        for number, layer in enumerate(self.layers, start=1):
            ends_block = number % every == 0
            if attention and ends_block:
                rows.append(layer.attention_rows(hidden, rotation, mask))  # type: ignore[operator]
            hidden = layer(hidden, rotation, mask)
            if ends_block and number < len(self.layers):
                states.append(hidden)
        return HiddenStates([*states, self.norm(hidden)], rows)

    def with_layers(
        self, chosen: Sequence[int], dropout: float, embedding_dropout: float
    ) -> "Decoder":
        """A decoder of this one's embeddings, some of its layers and its final norm, copied.

        `chosen`: which layers, counted from 0, in the order that they shall have. Raises
        `ConfigError` when there is no such layer.
        """
        if not set(chosen) <= set(range(len(self.layers))):
            raise ConfigError(
                f"the layers {list(chosen)}, counted from 0, asked of a decoder that has "
                f"{len(self.layers)}"
            )
        widths = tuple(self.shape.feed_forward[layer] for layer in chosen)
        heads = tuple(self.shape.kept_heads[layer] for layer in chosen if self.shape.kept_heads)
        shape = self.shape.model_copy(update={"feed_forward": widths, "kept_heads": heads})
        made = Decoder(shape, dropout, embedding_dropout)
        made.items.load_state_dict(self.items.state_dict())
        made.norm.load_state_dict(self.norm.state_dict())
        if self.memory is not None and made.memory is not None:
            made.memory.load_state_dict(self.memory.state_dict())
        for mine, layer in zip(made.layers, chosen, strict=True):
            mine.load_state_dict(self.layers[layer].state_dict())
        return made
