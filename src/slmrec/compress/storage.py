"""In which numbers a servable keeps a student: what a variant's settings come to."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import ml_dtypes
import numpy as np
import torch

from slmrec.compress.calibration import Reaches, measure_reaches, meeting_point, smoothed
from slmrec.compress.integers import Floats, quantize_roots
from slmrec.compress.matrices import ByteMatrix, FloatMatrix, Matrix, NibbleMatrix
from slmrec.compress.product import encode
from slmrec.compress.tables import ByteTable, FloatTable, ItemTable, NibbleTable
from slmrec.config import Variant
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder
from slmrec.models.memory import CountedMemory
from slmrec.models.scorer import History

_SEED = 17


@dataclass(frozen=True)
class Storage:
    """How the parts of one model are kept.

    `model` is what is written: the student, or one that computes the same and rounds better.
    """

    model: Decoder
    variant: Variant
    reaches: Reaches | None

    @classmethod
    def of(cls, student: Decoder, variant: Variant, calibration: Sequence[History]) -> "Storage":
        """Decide how a student is kept; `calibration` are histories that static states are seen on.

        Raises `ConfigError` when there are none and the variant needs some, or when it does not fit.
        """
        reason = variant.misfit(student.shape.width)
        if reason:
            raise ConfigError(f"variants: '{variant.name}' cannot be made: {reason}")
        if variant.weights == "int8" and variant.states == "static":
            if not calibration:
                raise ConfigError(
                    f"variants: '{variant.name}' has static states and there is no training history "
                    "to measure them on; set states: dynamic"
                )
            model = smoothed(student, calibration)
            return cls(model, variant, measure_reaches(model, calibration))
        return cls(student, variant, None)

    @property
    def memory_in_bytes(self) -> bool:
        """Whether a memory's weights are kept in bytes."""
        return self.variant.weights in ("int8", "int4")

    def memory(self) -> CountedMemory | None:
        """The student's memory with the weights that are kept of it."""
        memory = copy.deepcopy(self.model.memory)
        if memory is not None and self.memory_in_bytes:
            kept = quantize_roots(memory.weights.numpy()).values()
            memory.weights.copy_(torch.from_numpy(kept))
        return memory

    def matrix(self, weights: Floats, entered: str) -> Matrix:
        """A matrix of the layers [inputs, outputs]; `entered` names one that the same states enter."""
        match self.variant.weights:
            case "int8":
                reach = None if self.reaches is None else self.reaches.matrices[entered]
                return ByteMatrix(weights, reach)
            case "int4":
                return NibbleMatrix(weights)
            case "bfloat16":
                return FloatMatrix(weights, ml_dtypes.bfloat16)
        return FloatMatrix(weights)

    @cached_property
    def items(self) -> ItemTable:
        """The item embeddings."""
        table: Floats = self.model.items.weight.detach().numpy()
        match self.variant.weights:
            case "int8":
                return self._bytes(table)
            case "int4":
                return NibbleTable(table)
            case "bfloat16":
                return FloatTable(table, ml_dtypes.bfloat16)
        return FloatTable(table)

    def _bytes(self, table: Floats) -> ByteTable:
        if self.variant.product_bytes is not None:
            length = np.linalg.norm(table, axis=1).clip(min=1e-12).astype(np.float32)
            codes = encode(table / length[:, None], self.variant.product_bytes, _SEED)
            made = ByteTable.by_codes(codes, length)
            return made.reaching(self._reach(made.column))
        column = np.ones(table.shape[1], dtype=np.float32)
        if self.reaches is not None:
            largest = torch.from_numpy(np.abs(table).max(axis=0))
            column = (1 / meeting_point(self.reaches.states, largest)).numpy()
        return ByteTable.by_item(table, column, self._reach(column))

    def _reach(self, column: Floats) -> float | None:
        if self.reaches is None:
            return None
        return float((self.reaches.states.numpy() * column).max())
