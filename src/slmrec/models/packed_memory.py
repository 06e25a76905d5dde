"""A student's memory of transitions as it is served: read without torch, applied in machine code.

It adds to the scores of the layers what `slmrec.models.memory.CountedMemory` adds, for the few items
that the newest ones lead to; the rest of a row is not touched.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from slmrec.errors import ArtifactError
from slmrec.machine_code import compiled

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

PREFIX = "memory."
"""Of the arrays' names among a servable's weights."""
ARRAYS = ("starts", "sizes", "neighbours", "weights", "steps", "decay", "floor", "gain")
_NOTHING = np.float32(1e-12)
_MOST_AGES = 100
"""Newest items that can be looked up; more are no model of ours."""


@dataclass(frozen=True)
class PackedMemory:
    """The transitions of all items, one item's behind the other's.

    Place 0 of `neighbours` and `weights` leads nowhere: items have different numbers of them.
    """

    starts: Array
    """[items + 1], unsigned: where an item's transitions begin."""
    sizes: Array
    """[items + 1], unsigned: how many it has."""
    neighbours: Array
    """[1 + transitions], unsigned: the items that they lead to."""
    weights: Array
    """[1 + transitions]: float32, or uint8 that count in `steps`."""
    steps: Float32
    """[items + 1, 1]: a weight is (byte · step)². Of weights in float32 it is empty: [0, 1]."""
    decay: Float32
    """[newest items that are looked up, 1]: how much each counts, the newest first."""
    floor: Float32
    """[1]: the share of all that was found below which an item counts as not found."""
    gain: Float32
    """[1]: how much transitions count beside the layers."""
    _threads: threading.local = field(
        init=False, default_factory=threading.local, repr=False, compare=False
    )

    @classmethod
    def read(cls, weights: Path, items: int) -> Self | None:
        """The memory among a servable's weights, if there is one; for a catalogue of so many items.

        Raises `ArtifactError` when the file cannot be read, or when its tables lead out of themselves
        or of the catalogue: what is compiled checks nothing.
        """
        try:
            with safe_open(weights, framework="numpy") as tensors:
                names = [name for name in tensors.keys() if name.startswith(PREFIX)]  # noqa: SIM118
                held = {name: tensors.get_tensor(name) for name in names}
        except (SafetensorError, TypeError) as error:  # the latter for types that numpy has not
            raise ArtifactError(f"{weights}: cannot be read as safetensors ({error})") from error
        if not held:
            return None
        held.setdefault(PREFIX + "steps", np.zeros((0, 1), dtype=np.float32))
        absent = [name for name in ARRAYS if PREFIX + name not in held]
        made = None if absent else cls(*(held[PREFIX + name] for name in ARRAYS))
        reason = f"no '{absent[0]}'" if made is None else made._misfit(items)
        if reason:
            raise ArtifactError(
                f"{weights}: its memory of transitions is broken: {reason}; quantize the student again"
            )
        return made

    def _misfit(self, items: int) -> str:
        for name in ("starts", "sizes", "neighbours"):
            if getattr(self, name).dtype.kind != "u":
                return f"'{name}' are {getattr(self, name).dtype}, expected unsigned integers"
        in_bytes = self.weights.dtype == np.uint8
        shapes = {
            "starts": (items + 1,),
            "sizes": (items + 1,),
            "neighbours": self.weights.shape,
            "steps": (items + 1 if in_bytes else 0, 1),
            "decay": (min(max(self.decay.size, 1), _MOST_AGES), 1),
            "floor": (1,),
            "gain": (1,),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                return f"'{name}' has shape {getattr(self, name).shape}, expected {shape}"
        for name in ("steps", "decay", "floor", "gain", *([] if in_bytes else ["weights"])):
            if getattr(self, name).dtype != np.float32:
                return f"'{name}' are {getattr(self, name).dtype}, expected float32"
        if self.weights.ndim != 1:
            return f"'weights' have {self.weights.ndim} dimensions, expected 1"
        last = max(int(self.starts.max()), int(self.sizes.max()))
        if last <= len(self.weights):  # small enough to be added up
            last = int((self.starts.astype(np.int64) + self.sizes.astype(np.int64)).max())
        if last > len(self.weights):
            return f"transitions up to {last}, expected {len(self.weights)} at most"
        if self.neighbours.max(initial=0) > items:
            return f"an item {self.neighbours.max()} in a catalogue of {items}"
        return ""

    def named(self) -> dict[str, Array]:
        """The arrays by the names that they have among a servable's weights; none that is empty."""
        arrays = {PREFIX + name: getattr(self, name) for name in ARRAYS}
        return {name: array for name, array in arrays.items() if array.size}

    def add(self, scores: Float32, items: Int32, starts: Int64) -> None:
        """Add to each row of `scores` [rows, items + 1] what its newest items lead to.

        `items` int32 [any], of which row r has `starts[r]` to `starts[r + 1]`, oldest first; `starts`
        int64 [rows + 1]. What is in `items` is the caller's to check. Several threads may call this at
        once.
        """
        found, reached = self._scratch()
        _remember(
            scores,
            items,
            starts,
            self.starts,
            self.sizes,
            self.neighbours,
            self.weights,
            self.steps,
            self.decay,
            self.floor[0],
            self.gain[0],
            found,
            reached,
        )

    def _scratch(self) -> tuple[Float32, Int64]:
        """Zeros [items + 1], which stay zeros between calls, and room for the places reached in one."""
        if not hasattr(self._threads, "found"):
            self._threads.found = np.zeros(len(self.sizes), dtype=np.float32)
            most = len(self.decay) * int(self.sizes.max())
            self._threads.reached = np.empty(most, dtype=np.int64)
        return self._threads.found, self._threads.reached


@compiled
def _remember(
    scores: Float32,
    items: Int32,
    rows: Int64,
    starts: Array,
    sizes: Array,
    neighbours: Array,
    weights: Array,
    steps: Float32,
    decay: Float32,
    floor: np.float32,
    gain: np.float32,
    found: Float32,
    reached: Int64,
) -> None:
    # `found` [items + 1] is zeros before and after each row; `reached` are the places where it is not.
    in_bytes = len(steps) > 0
    one = np.float32(1)
    for row in range(len(scores)):
        count = 0
        total = np.float32(0)
        for age in range(min(len(decay), rows[row + 1] - rows[row])):
            item = items[rows[row + 1] - 1 - age]
            start = np.int64(starts[item])
            for place in range(start, start + np.int64(sizes[item])):
                weight = np.float32(weights[place])
                if in_bytes:
                    weight = weight * steps[item, 0]
                    weight = weight * weight
                weight = weight * decay[age, 0]
                neighbour = np.int64(neighbours[place])
                if found[neighbour] == 0:
                    reached[count] = neighbour
                    count += 1
                found[neighbour] += weight
                total += weight
        total = max(total, _NOTHING)
        for place in range(count):
            item = reached[place]
            scores[row, item] += gain * np.log(found[item] / total / floor + one)
            found[item] = 0
