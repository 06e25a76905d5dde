"""How large states become on training histories, and outliers smoothed away before it is measured.

Where states are rounded in steps that are fixed beforehand, one channel that is always large makes the
steps coarse for all others. As in SmoothQuant (Xiao et al., ICML 2023, arXiv 2211.10438) such a channel
is divided by a number and the weights that read it are multiplied by it: the model computes the same.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slmrec.compress.watching import largest, watch
from slmrec.models.decoder import Decoder, DecoderLayer
from slmrec.models.scorer import History

_NOTHING = 1e-6


@dataclass(frozen=True)
class Reaches:
    """The largest magnitudes seen.

    - `matrices`: name of a matrix in the layers → largest entry of what entered it
    - `states` float32 [width]: largest entry of each channel of what items are scored with
    """

    matrices: Mapping[str, float]
    states: Tensor


def measure_reaches(model: Decoder, sample: Sequence[History]) -> Reaches:
    """Run histories through a model and see how large its states become, at every position."""
    matrices = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    channels = watch(model, list(matrices.values()), sample, largest)
    (states,) = watch(model, [model.norm], sample, _largest_normed)
    reaches = (float(found.max()) for found in channels)
    return Reaches(dict(zip(matrices, reaches, strict=True)), states)


def smoothed(model: Decoder, sample: Sequence[History]) -> Decoder:
    """A model that computes the same, in whose layers no channel stands out.

    A channel and the weights that read it meet half way: both get the same largest magnitude.
    """
    made = copy.deepcopy(model).eval()
    layers: list[DecoderLayer] = list(made.layers)  # type: ignore[arg-type]
    readers = [
        module
        for layer in layers
        for module in (
            layer.self_attn.q_proj,
            layer.self_attn.o_proj,
            layer.mlp.gate_proj,
            layer.mlp.down_proj,
        )
    ]
    found = iter(watch(made, readers, sample, largest))
    with torch.no_grad():
        for layer in layers:
            attention, network = layer.self_attn, layer.mlp
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            _move(next(found), layer.input_layernorm.weight, projections)
            _move(next(found), attention.v_proj.weight, (attention.o_proj,))
            branches = (network.gate_proj, network.up_proj)
            _move(next(found), layer.post_attention_layernorm.weight, branches)
            _move(next(found), network.up_proj.weight, (network.down_proj,))
    return made


def meeting_point(states: Tensor, weights: Tensor) -> Tensor:
    """What to divide each channel by, given the largest magnitudes of it and of what it meets."""
    ratio = states.clamp(min=_NOTHING) / weights.clamp(min=_NOTHING)
    silent = (states < _NOTHING) | (weights < _NOTHING)
    return torch.where(silent, torch.ones_like(ratio), ratio.sqrt())


def _largest_normed(norm: nn.RMSNorm, entered: Tensor) -> Tensor:
    normed = F.rms_norm(entered, norm.normalized_shape, norm.weight, norm.eps)
    return largest(norm, normed)


def _move(states: Tensor, writer: Tensor, readers: Sequence[nn.Linear]) -> None:
    # `writer` makes the channels, one a row or an entry; `readers` have one a column.
    read = torch.stack([reader.weight.abs().amax(dim=0) for reader in readers]).amax(dim=0)
    factor = meeting_point(states, read)
    writer.div_(factor if writer.dim() == 1 else factor[:, None])
    for reader in readers:
        reader.weight.mul_(factor)
