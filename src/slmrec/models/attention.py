"""Attention in the number type that is fastest for it."""

import torch
from torch import Tensor
from torch.nn import functional as F


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention: each [batch, heads, length, head width] → the same shape.

    `mask` bool, true where a query (row) may look; none for plain causal. On a CPU it is computed in
    float32 whatever enters: torch's bfloat16 kernel takes five times as long to go backward.
    """
    causal = mask is None
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(
                query.float(), key.float(), value.float(), attn_mask=mask, is_causal=causal
            )
        return mixed.to(value.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
