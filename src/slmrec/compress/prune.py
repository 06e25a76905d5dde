"""Structured pruning: whole feed-forward channels, so that what is left is a smaller dense model."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slmrec.models.decoder import Decoder, FeedForward
from slmrec.models.encoder import right_padded
from slmrec.models.scorer import History


@torch.inference_mode()
def channel_importance(model: Decoder, sample: Sequence[History]) -> list[Tensor]:
    """What each feed-forward channel contributes: a tensor [inner] for each layer.

    Mean absolute activation over real positions of the sample times the norm of the channel's
    column in `down_proj`: the size of what the channel writes into the residual stream.
    """
    sums: list[Tensor] = []
    networks: list[FeedForward] = [layer.mlp for layer in model.layers]  # type: ignore[misc]
    items, last = right_padded(list(sample), model.max_length)
    real = torch.arange(items.shape[1])[None] <= last[:, None]

    def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, FeedForward)
        activity = module.channels(inputs[0])[real].abs().mean(dim=0)
        sums.append(activity * module.down_proj.weight.norm(dim=0))

    hooks = [network.register_forward_pre_hook(record) for network in networks]
    try:
        model.last_states(items, last)
    finally:
        for hook in hooks:
            hook.remove()
    return sums


def prune_feed_forward(model: Decoder, share: float, sample: Sequence[History]) -> Decoder:
    """A copy that keeps the most important `share` of each layer's feed-forward channels.

    The number kept is rounded up to a multiple of 8, which is what vector units like.
    """
    importance = channel_importance(model, sample)
    kept = []
    for scores in importance:
        wanted = min(8 * math.ceil(share * len(scores) / 8), len(scores))
        order = torch.sort(scores, descending=True, stable=True).indices
        kept.append(order[:wanted].sort().values)
    shape = model.shape.model_copy(update={"feed_forward": tuple(len(rows) for rows in kept)})
    weights = dict(model.state_dict())
    for number, rows in enumerate(kept):
        prefix = f"layers.{number}.mlp"
        for name in ("gate_proj", "up_proj"):
            weights[f"{prefix}.{name}.weight"] = weights[f"{prefix}.{name}.weight"][rows]
        weights[f"{prefix}.down_proj.weight"] = weights[f"{prefix}.down_proj.weight"][:, rows]
    pruned = Decoder(shape)
    pruned.load_state_dict(weights)
    return pruned.eval()
