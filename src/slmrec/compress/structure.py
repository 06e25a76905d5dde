"""Structured pruning: layers, heads and channels go, and what is left is a smaller dense model."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slmrec.compress.watching import watch
from slmrec.models.decoder import Attention, Decoder, FeedForward
from slmrec.models.scorer import History


def prune_layers(model: Decoder, chosen: Sequence[int]) -> Decoder:
    """A copy of some layers, counted from 0, in the order that they stand."""
    return model.with_layers(sorted(chosen), 0.0, 0.0).eval()


def prune_heads(model: Decoder, share: float, sample: Sequence[History]) -> Decoder:
    """A copy that keeps the most important `share` of each layer's attention heads, at least one."""
    width = model.shape.head_width
    kept = [
        _best(importance, math.ceil(share * len(importance)))
        for importance in head_importance(model, sample)
    ]
    shape = model.shape.model_copy(update={"kept_heads": tuple(len(heads) for heads in kept)})
    weights = dict(model.state_dict())
    for number, heads in enumerate(kept):
        rows = (heads[:, None] * width + torch.arange(width)).flatten()
        prefix = f"layers.{number}.self_attn"
        for name in ("q_proj", "k_proj", "v_proj"):
            weights[f"{prefix}.{name}.weight"] = weights[f"{prefix}.{name}.weight"][rows]
        weights[f"{prefix}.o_proj.weight"] = weights[f"{prefix}.o_proj.weight"][:, rows]
    return _rebuilt(Decoder(shape), weights)


def prune_feed_forward(model: Decoder, share: float, sample: Sequence[History]) -> Decoder:
    """A copy that keeps the most important `share` of each layer's feed-forward channels.

    The number kept is rounded up to a multiple of 8, which is what vector units like.
    """
    kept = [
        _best(importance, min(8 * math.ceil(share * len(importance) / 8), len(importance)))
        for importance in channel_importance(model, sample)
    ]
    shape = model.shape.model_copy(update={"feed_forward": tuple(len(rows) for rows in kept)})
    weights = dict(model.state_dict())
    for number, rows in enumerate(kept):
        prefix = f"layers.{number}.mlp"
        for name in ("gate_proj", "up_proj"):
            weights[f"{prefix}.{name}.weight"] = weights[f"{prefix}.{name}.weight"][rows]
        weights[f"{prefix}.down_proj.weight"] = weights[f"{prefix}.down_proj.weight"][:, rows]
    return _rebuilt(Decoder(shape), weights)


def channel_importance(model: Decoder, sample: Sequence[History]) -> list[Tensor]:
    """What each feed-forward channel contributes: a tensor [inner] for each layer.

    Mean absolute activation over real positions of the sample times the norm of the channel's
    column in `down_proj`: the size of what the channel writes into the residual stream.
    """

    def written(projection: nn.Linear, channels: Tensor) -> Tensor:
        return channels.abs().mean(dim=0) * projection.weight.norm(dim=0)

    projections = [_feed_forward(layer).down_proj for layer in model.layers]
    return watch(model, projections, sample, written)


def head_importance(model: Decoder, sample: Sequence[History]) -> list[Tensor]:
    """What each attention head contributes: a tensor [heads] for each layer.

    The mean length, over real positions of the sample, of what the head writes into the residual
    stream.
    """
    width = model.shape.head_width

    def written(projection: nn.Linear, gathered: Tensor) -> Tensor:
        heads = gathered.view(len(gathered), -1, width)  # [positions, heads, head width]
        columns = projection.weight.view(len(projection.weight), -1, width)
        lengths = torch.einsum("phd,whd->phw", heads, columns).norm(dim=2)
        return lengths.mean(dim=0)

    projections = [_attention(layer).o_proj for layer in model.layers]
    return watch(model, projections, sample, written)


def _best(importance: Tensor, wanted: int) -> Tensor:
    """The most important of all, in the order that they stand; equal ones by their place."""
    order = torch.sort(importance, descending=True, stable=True).indices
    return order[:wanted].sort().values


def _rebuilt(made: Decoder, weights: dict[str, Tensor]) -> Decoder:
    made.load_state_dict(weights)
    return made.eval()


def _attention(layer: nn.Module) -> Attention:
    found: Attention = layer.self_attn  # type: ignore[assignment]
    return found


def _feed_forward(layer: nn.Module) -> FeedForward:
    found: FeedForward = layer.mlp  # type: ignore[assignment]
    return found
