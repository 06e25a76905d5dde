"""Writing an ONNX graph, node after node."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

Array = NDArray[Any]
OPSET, CONTRIB_OPSET, IR_VERSION = 23, 1, 11
CONTRIB = "com.microsoft"
"""Operators of ONNX Runtime: products of small integers that give floats in one pass."""

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT
Kind = tuple[int, Sequence[str | int]]
"""Element type and dimensions of a value; a dimension with a name may have any size."""


@dataclass(frozen=True)
class Place:
    """Where the bytes of a constant lie."""

    file: str
    offset: int
    length: int


@dataclass
class Graph:
    """An ONNX graph that is being written; every call gives the name of what its node makes.

    Constants stay arrays until a model is made, so that large ones need never be part of it.
    """

    inputs: dict[str, Kind] = field(default_factory=dict)
    outputs: dict[str, Kind] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    """Constants that others look up by their names."""
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _known: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _names: int = 0

    def call(
        self, kind: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output, named `output` where that is given."""
        made = output or self._fresh(kind.lower())
        self._nodes.append(
            helper.make_node(kind, list(inputs), [made], domain=domain, **attributes)
        )
        return made

    def top(
        self, values: str, count: str, outputs: tuple[str, str] | None = None, largest: int = 1
    ) -> tuple[str, str]:
        """Add the `count` largest or smallest values of each row and their places: two names."""
        made = outputs or (self._fresh("values"), self._fresh("places"))
        self._nodes.append(
            helper.make_node("TopK", [values, count], list(made), axis=1, largest=largest)
        )
        return made

    def constant(self, stem: str, value: Array) -> str:
        """Add a constant; equal ones are kept once."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        digest = sha256(array.reshape(-1).view(np.uint8).data).digest()
        key = (array.dtype.str, array.shape, digest)
        if key not in self._known:
            self._known[key] = self._fresh(stem)
            self.constants[self._known[key]] = array
        return self._known[key]

    def table(self, name: str, value: Array) -> str:
        """Add a constant by the name that others look it up by, beside an equal one."""
        self.constants[name] = np.ascontiguousarray(value)
        self.named.add(name)
        return name

    def integers(self, values: Sequence[int]) -> str:
        """An int64 constant [values]."""
        return self.constant("integers", np.asarray(values, dtype=np.int64))

    def number(self, value: float, dtype: Any = np.float32) -> str:
        """A scalar constant."""
        return self.constant("number", np.asarray(value, dtype=dtype))

    def copied(self) -> Self:
        """A graph that can be written on without changing this one; arrays are shared."""
        made = copy.copy(self)
        for name in ("inputs", "outputs", "constants", "named", "_nodes", "_known"):
            setattr(made, name, copy.copy(getattr(self, name)))
        return made

    def model(self, elsewhere: Mapping[str, Place] | None = None) -> onnx.ModelProto:
        """All that was written; constants that are `elsewhere` are named by their places."""
        elsewhere = elsewhere or {}
        constants = [
            _tensor(name, array, elsewhere.get(name)) for name, array in self.constants.items()
        ]
        graph = helper.make_graph(
            self._nodes, "slmrec", _described(self.inputs), _described(self.outputs), constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, CONTRIB_OPSET)]
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="slmrec"
        )
        return model

    def _fresh(self, stem: str) -> str:
        self._names += 1
        return f"{stem}.{self._names}"


def _tensor(name: str, array: Array, place: Place | None) -> onnx.TensorProto:
    if place is None:
        return numpy_helper.from_array(array, name)
    tensor = onnx.TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        dims=array.shape,
        raw_data=b"",
    )
    set_external_data(tensor, place.file, place.offset, place.length)
    tensor.ClearField("raw_data")
    return tensor


def _described(values: Mapping[str, Kind]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, kind, dimensions)
        for name, (kind, dimensions) in values.items()
    ]
