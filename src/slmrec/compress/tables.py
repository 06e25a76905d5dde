"""How the item table is kept in a graph.

Histories are looked up in it, and states are multiplied with it.
"""

from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from slmrec.compress.graph import CONTRIB, FLOAT, Graph
from slmrec.compress.integers import (
    BLOCK,
    INT8_MOST,
    NOTHING,
    ZERO,
    Floats,
    quantize,
    quantize_to_nibbles,
    steps,
)
from slmrec.compress.matrices import byte_product, float_constant, nibble_product
from slmrec.compress.product import ProductCodes


class ItemTable(Protocol):
    """Item embeddings [items + 1, width] in the form in which a graph keeps them."""

    def rows(self, graph: Graph, items: str) -> str:
        """Items int64 [...] → their embeddings float32 [..., width]."""
        ...

    def scores(self, graph: Graph, states: str, norm: Floats, epsilon: float, bias: str) -> str:
        """States [batch, width] → scores [batch, items + 1], plus a bias [items + 1] if any.

        The states are normed first, with the weights `norm` [width].
        """
        ...

    def dense(self) -> Floats:
        """What the kept numbers stand for: float32 [items + 1, width]."""
        ...

    def rounded(self, states: Floats) -> Floats:
        """Normed states [batch, width] as the product with the table takes them."""
        ...


class FloatTable:
    """Kept as floats; bfloat16 is half the bytes on disk and becomes float32 when it is loaded."""

    def __init__(self, table: Floats, dtype: Any = np.float32) -> None:
        self._table = table
        self._dtype = dtype

    def rows(self, graph: Graph, items: str) -> str:
        """Items int64 [...] → their embeddings float32 [..., width]."""
        return graph.call("Gather", float_constant(graph, self._table, self._dtype), items)

    def scores(self, graph: Graph, states: str, norm: Floats, epsilon: float, bias: str) -> str:
        """States [batch, width] → scores [batch, items + 1]."""
        table = float_constant(graph, self._table, self._dtype)
        operands = [rms_norm(graph, states, norm, epsilon), table, bias]
        return graph.call("Gemm", *(operands if bias else operands[:2]), transB=1)

    def dense(self) -> Floats:
        """What the kept numbers stand for: float32 [items + 1, width]."""
        return self._table.astype(self._dtype).astype(np.float32)

    def rounded(self, states: Floats) -> Floats:
        """The states as they are."""
        return states


class NibbleTable:
    """Kept in 4 bits with a scale for every 32 numbers."""

    def __init__(self, table: Floats) -> None:
        """The width has to be a multiple of 32."""
        self._shape = table.shape
        assert table.shape[1] % BLOCK == 0
        self._nibbles = quantize_to_nibbles(table)

    def rows(self, graph: Graph, items: str) -> str:
        """Items int64 [...] → their embeddings float32 [..., width]."""
        packed, scale = self._constants(graph)
        flat = graph.call("Reshape", packed, graph.integers([self._shape[0], -1]))
        return graph.call(
            "GatherBlockQuantized",
            flat,
            items,
            scale,
            domain=CONTRIB,
            gather_axis=0,
            quantize_axis=1,
            block_size=BLOCK,
            bits=4,
        )

    def scores(self, graph: Graph, states: str, norm: Floats, epsilon: float, bias: str) -> str:
        """States [batch, width] → scores [batch, items + 1]."""
        packed, scale = self._constants(graph)
        normed = rms_norm(graph, states, norm, epsilon)
        shape = (self._shape[1], self._shape[0])
        return nibble_product(graph, normed, packed, scale, shape, bias)

    def dense(self) -> Floats:
        """What the kept numbers stand for: float32 [items + 1, width]."""
        return self._nibbles.values()[:, : self._shape[1]]

    def rounded(self, states: Floats) -> Floats:
        """Each block of 32 numbers in steps of its own largest, which is what ONNX Runtime does."""
        blocks = states.reshape(len(states), -1, BLOCK)
        step = np.abs(blocks).max(axis=2, keepdims=True).clip(min=NOTHING) / INT8_MOST
        whole: Floats = (np.rint(blocks / step) * step).reshape(states.shape).astype(np.float32)
        return whole

    def _constants(self, graph: Graph) -> tuple[str, str]:
        packed = graph.constant("items", self._nibbles.packed)
        return packed, graph.constant("items_scale", self._nibbles.scale)


class ByteTable:
    """Kept as int8 with a scale for each item and one for each column: table ≈ row · int8 · column.

    Bytes that are looked up can be multiplied as they are, so the first layer needs no floats of a
    whole history: `projected`. `reach` is what `ByteMatrix` takes, of states times the column's scale.
    """

    def __init__(
        self,
        values: NDArray[np.int8],
        row: Floats,
        column: Floats,
        reach: float | None,
        codes: ProductCodes | None = None,
    ) -> None:
        self._values, self._row, self.column = values, row, column
        self._reach = reach
        self._codes = codes

    @classmethod
    def by_item(cls, table: Floats, column: Floats, reach: float | None) -> "ByteTable":
        """Round each item in steps of its own largest entry, after its columns were divided."""
        found = quantize(table / column, axis=0)
        return cls(found.values, found.scale, column, reach)

    @classmethod
    def by_codes(cls, codes: ProductCodes, row: Floats) -> "ByteTable":
        """Items `row` [items + 1] times what codes stand for, whose pieces are rounded to int8.

        Rows are put together from their pieces when the graph is loaded.
        """
        step = steps(np.abs(codes.pieces).max(axis=(1, 2)), INT8_MOST)
        whole = ProductCodes(codes.codes, np.rint(codes.pieces / step[:, None, None]))
        column = np.repeat(step, codes.pieces.shape[2])
        return cls(whole.rows().astype(np.int8), row, column, None, whole)

    def reaching(self, reach: float | None) -> "ByteTable":
        """A copy for states of which it was seen how large they become."""
        return ByteTable(self._values, self._row, self.column, reach, self._codes)

    def rows(self, graph: Graph, items: str) -> str:
        """Items int64 [...] → their embeddings float32 [..., width]."""
        bytes_ = graph.call("Gather", self._unsigned(graph), items)
        whole = graph.call("Sub", graph.call("Cast", bytes_, to=FLOAT), graph.number(ZERO))
        each = graph.call("Gather", self._scale(graph), items)
        each = graph.call("Unsqueeze", each, graph.integers([-1]))
        floats = graph.call("Mul", whole, each)
        return graph.call("Mul", floats, graph.constant("items_column", self.column))

    def projected(
        self, graph: Graph, items: str, norm: Floats, epsilon: float, weights: Floats
    ) -> str:
        """The normed embeddings of items times `weights` [width, outputs]: float32 [..., outputs].

        A norm divides an embedding by one number, which is known beforehand for every item.
        """
        factor = (self._row / np.sqrt(self._squares + epsilon)).astype(np.float32)
        matrix = quantize((self.column * norm)[:, None] * weights, axis=1)
        product = graph.call(
            "MatMulIntegerToFloat",
            graph.call("Gather", self._unsigned(graph), items),
            graph.constant("matrix", matrix.values),
            graph.number(1.0),
            graph.constant("matrix_scale", matrix.scale),
            graph.number(ZERO, np.uint8),
            domain=CONTRIB,
        )
        each = graph.call("Gather", graph.constant("items_norm", factor[:, None]), items)
        return graph.call("Mul", product, each)

    def scores(self, graph: Graph, states: str, norm: Floats, epsilon: float, bias: str) -> str:
        """States [batch, width] → scores [batch, items + 1]."""
        normed = rms_norm(graph, states, norm * self.column, epsilon)
        turned = graph.call("Transpose", self._signed(graph), perm=[1, 0])
        return byte_product(graph, normed, turned, self._scale(graph), self._reach, bias)

    def dense(self) -> Floats:
        """What the kept numbers stand for: float32 [items + 1, width]."""
        found: Floats = self._values * self._row[:, None] * self.column
        return found

    def rounded(self, states: Floats) -> Floats:
        """In the steps of the product: fixed ones, or of each state's own largest entry."""
        scaled = states * self.column
        reach = np.abs(scaled).max(axis=1, keepdims=True) if self._reach is None else self._reach
        step = np.maximum(reach, NOTHING) / INT8_MOST
        whole: Floats = (np.rint(scaled / step).clip(-ZERO, INT8_MOST) * step / self.column).astype(
            np.float32
        )
        return whole

    @cached_property
    def _squares(self) -> NDArray[np.float64]:
        """The mean square of each embedding: [items + 1]."""
        found: NDArray[np.float64] = np.square(self.dense(), dtype=np.float64).mean(axis=1)
        return found

    def _scale(self, graph: Graph) -> str:
        return graph.constant("items_scale", self._row)

    def _signed(self, graph: Graph) -> str:
        # What is made of constants alone is made once, when the graph is loaded.
        if self._codes is None:
            return graph.constant("items", self._values)
        parts, groups, width = self._codes.pieces.shape
        flat = self._codes.pieces.reshape(parts * groups, width).astype(np.int8)
        codes = graph.constant("codes", self._codes.codes)
        places = graph.call(
            "Add",
            graph.call("Cast", codes, to=TensorProto.INT32),
            graph.constant("parts", (np.arange(parts) * groups).astype(np.int32)),
        )
        pieces = graph.call("Gather", graph.constant("pieces", flat), places)
        shape = graph.integers([len(self._codes.codes), parts * width])
        return graph.call("Reshape", pieces, shape)

    def _unsigned(self, graph: Graph) -> str:
        # Products want unsigned bytes on their left. Loaded, there is this and the turned table.
        wide = graph.call("Cast", self._signed(graph), to=TensorProto.INT32)
        moved = graph.call("Add", wide, graph.number(ZERO, np.int32))
        return graph.call("Cast", moved, to=TensorProto.UINT8)


def rms_norm(graph: Graph, states: str, weights: Floats, epsilon: float) -> str:
    """States [..., width] divided by their root mean square, times weights [width]."""
    return graph.call(
        "RMSNormalization", states, graph.constant("norm", weights), axis=-1, epsilon=epsilon
    )
