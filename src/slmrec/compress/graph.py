"""Writing an ONNX graph, node after node."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
OPSET, CONTRIB_OPSET, IR_VERSION = 23, 1, 11
CONTRIB = "com.microsoft"
"""Operators of ONNX Runtime: products of small integers that give floats in one pass."""

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT
Values = Mapping[str, tuple[int, Sequence[str | int]]]
"""Name → (element type, dimensions); a dimension with a name may have any size."""


class Graph:
    """An ONNX graph that is being written; every call gives the name of what its node makes."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._known: dict[tuple[Any, ...], str] = {}
        self._names = 0

    def call(
        self, kind: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output, named `output` where that is given."""
        made = output or self.fresh(kind.lower())
        self._nodes.append(
            helper.make_node(kind, list(inputs), [made], domain=domain, **attributes)
        )
        return made

    def constant(self, stem: str, value: Array) -> str:
        """Add a constant; equal ones are kept once."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, sha256(array.tobytes()).digest())
        if key not in self._known:
            self._known[key] = self.fresh(stem)
            self._constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def integers(self, values: Sequence[int]) -> str:
        """An int64 constant [values]."""
        return self.constant("integers", np.asarray(values, dtype=np.int64))

    def number(self, value: float, dtype: Any = np.float32) -> str:
        """A scalar constant."""
        return self.constant("number", np.asarray(value, dtype=dtype))

    def fresh(self, stem: str) -> str:
        """A name that nothing has yet."""
        self._names += 1
        return f"{stem}.{self._names}"

    def model(self, inputs: Values, outputs: Values) -> onnx.ModelProto:
        """All that was written, as a model with these inputs and outputs."""
        graph = helper.make_graph(
            self._nodes,
            "slmrec",
            _described(inputs),
            _described(outputs),
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, CONTRIB_OPSET)]
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="slmrec"
        )
        return model


def _described(values: Values) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, kind, dimensions)
        for name, (kind, dimensions) in values.items()
    ]
