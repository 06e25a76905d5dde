"""What a shard of the teacher cache holds, and how each array is written and read.

A shard is an artifact of the training positions of some users. Rows are those positions in ascending
order, which is also the order of the users' windows:

- `positions.npy` int64 [rows]: position of the read item in the sequences
- `states.npy` [rows, blocks, width]: hidden states at block ends, the last one normed. uint16, the
  bits of bfloat16 (error at most 2⁻⁸ of a number); or int8 with
  `scales.npy` float32 [rows, blocks]: a state is int8 · scale (error at most 1/254 of the largest
  number of its row)
- `top_items.npy` int32 and `top_scores.npy` float16 [rows, K]: the K best catalogue scores from the
  best down, each less the best. A softmax does not see that shift, and float16 is exact for the best
  one and errs by at most 2⁻¹¹ of the distance to it for the others
- `tail.npy` float32 [rows]: log-sum-exp of all scores less that of the K best; the items that are not
  kept have the probability 1 − e^−tail together
- `attention.npy` float16 [rows, blocks, max_length], only where asked for: where the position looked
  in the last layer of the block, place j being the window's j-th item (error at most 2⁻¹¹ of a
  weight above 2⁻¹⁴, 2⁻²⁵ below)
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.distillation.teachers import Reading
from slmrec.errors import SlmrecError

KIND = "teacher_cache"
LOWEST = float(np.finfo(np.float16).min)
"""What a score so far below the best one is stored as: its probability is 0 either way."""
LARGEST_INT8 = 127


@dataclass(frozen=True)
class Layout:
    """Everything that shapes and types of a shard's arrays depend on, but the number of rows."""

    blocks: int
    width: int
    top_k: int
    max_length: int
    states: str
    """`bfloat16` or `int8`."""
    attention: bool

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> "Layout":
        """The layout that an artifact's properties tell."""
        return cls(**{name: properties[name] for name in cls.__dataclass_fields__})

    def properties(self) -> dict[str, Any]:
        """The layout as an artifact's properties."""
        return asdict(self)

    def arrays(self, rows: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """Type and shape of each array that comes from the teacher, by the name of its file."""
        is_int8 = self.states == "int8"
        arrays: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "states": (np.int8 if is_int8 else np.uint16, (rows, self.blocks, self.width)),
            "top_items": (np.int32, (rows, self.top_k)),
            "top_scores": (np.float16, (rows, self.top_k)),
            "tail": (np.float32, (rows,)),
        }
        if is_int8:
            arrays["scales"] = (np.float32, (rows, self.blocks))
        if self.attention:
            arrays["attention"] = (np.float16, (rows, self.blocks, self.max_length))
        return arrays

    def bytes(self, rows: int) -> int:
        """Size of a shard of so many rows, positions included."""
        arrays = self.arrays(rows).values()
        teacher = sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in arrays)
        return teacher + rows * np.dtype(np.int64).itemsize


@dataclass(frozen=True)
class CachedTeacher:
    """What the teacher says about some positions."""

    states: Tensor
    """float32 [positions, blocks, width]"""
    top_items: Tensor
    """int64 [positions, K]: the K best items, from the best down."""
    top_scores: Tensor
    """float32 [positions, K]: their scores, each less the best one."""
    tail: Tensor
    """float32 [positions]: log-sum-exp of all scores less that of the K best; 0 or more."""
    attention: Tensor | None = None
    """float32 [positions, blocks, max_length], rows sum to 1; none where it was not kept."""

    def to(self, device: torch.device) -> "CachedTeacher":
        """The same on another device."""
        return CachedTeacher(
            self.states.to(device),
            self.top_items.to(device),
            self.top_scores.to(device),
            self.tail.to(device),
            None if self.attention is None else self.attention.to(device),
        )


def encode(reading: Reading, layout: Layout) -> dict[str, NDArray[Any]]:
    """The rows of every array for what the teacher says about some positions.

    Raises `SlmrecError` when states or scores are not finite.
    """
    best = reading.scores.topk(layout.top_k, dim=1)
    top_score = best.values[:, :1]
    if not (torch.isfinite(reading.states).all() and torch.isfinite(top_score).all()):
        raise SlmrecError(
            "teacher cache: the teacher's states or scores are not finite; train the teacher again "
            "with a lower training.learning_rate"
        )
    rows = {
        "top_items": best.indices.int(),
        "top_scores": (best.values - top_score).clamp(min=LOWEST).half(),
        # The difference of two nearly equal sums may fall below zero by their rounding.
        "tail": (reading.scores.logsumexp(1) - best.values.logsumexp(1)).clamp(min=0),
    }
    if layout.states == "int8":
        rows["states"], rows["scales"] = to_int8(reading.states)
    else:
        rows["states"] = reading.states.bfloat16().view(torch.int16)
    if layout.attention:
        assert reading.attention is not None, "attention was asked for"
        rows["attention"] = reading.attention.half()
    arrays = {name: tensor.cpu().numpy() for name, tensor in rows.items()}
    if layout.states == "bfloat16":
        arrays["states"] = arrays["states"].view(np.uint16)
    return arrays


def decode(arrays: Mapping[str, NDArray[Any]]) -> CachedTeacher:
    """What `encode` was told, within the precision of each array."""
    tensors = {
        name: torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array)
        for name, array in arrays.items()
    }
    if "scales" in tensors:
        states = tensors["states"].float() * tensors["scales"][:, :, None]
    else:
        states = tensors["states"].view(torch.bfloat16).float()
    attention = None
    if "attention" in tensors:
        attention = tensors["attention"].float()
        attention /= attention.sum(dim=2, keepdim=True)
    return CachedTeacher(
        states,
        tensors["top_items"].long(),
        tensors["top_scores"].float(),
        tensors["tail"],
        attention,
    )


def to_int8(states: Tensor) -> tuple[Tensor, Tensor]:
    """States [positions, blocks, width] as int8, and the scale [positions, blocks] of each row.

    The row's largest number becomes ±127; a row of zeros stays one.
    """
    scale = states.abs().amax(dim=2) / LARGEST_INT8
    divisor = torch.where(scale > 0, scale, 1.0)
    return (states / divisor[:, :, None]).round().to(torch.int8), scale
