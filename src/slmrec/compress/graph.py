"""Changing an exported ONNX graph: large constants go, small ones and what reads them come."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


class Graph:
    """An ONNX graph that is being rewritten.

    Nodes are added in front of the node that is being replaced, so the order stays topological.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._graph = model.graph
        self._names = 0

    def constants(self) -> dict[str, Array]:
        """Every initializer by its name."""
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self._graph.initializer}

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a value."""
        return [node for node in self._graph.node if name in node.input]

    def nodes(self, kind: str) -> list[onnx.NodeProto]:
        """All nodes of an operator."""
        return [node for node in self._graph.node if node.op_type == kind]

    def add_constant(self, stem: str, value: Array) -> str:
        """Add an initializer; returns its name."""
        name = self.fresh(stem)
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def insert(self, before: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
        """Put nodes in front of one that is there."""
        place = next(n for n, node in enumerate(self._graph.node) if node is before)
        for offset, node in enumerate(nodes):
            self._graph.node.insert(place + offset, node)

    def replace(self, node: onnx.NodeProto, chain: "Chain", result: str) -> None:
        """Put a chain in the place of a node; `result` is what the node's readers are given."""
        chain.call("Identity", [result], output=node.output[0])
        self.insert(node, chain.nodes)
        self.remove(node)

    def remove(self, node: onnx.NodeProto) -> None:
        """Take a node out."""
        place = next(n for n, other in enumerate(self._graph.node) if other is node)
        del self._graph.node[place]

    def drop_unread(self) -> None:
        """Take out initializers that nobody reads any more."""
        read = {name for node in self._graph.node for name in node.input}
        read |= {output.name for output in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def chain(self) -> "Chain":
        """A run of new nodes."""
        return Chain(self)

    def fresh(self, stem: str) -> str:
        """A name that nothing has yet."""
        self._names += 1
        return f"{stem}.{self._names}"


class Chain:
    """New nodes, one after another; each call gives the name of what it makes."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.nodes: list[onnx.NodeProto] = []

    def call(self, kind: str, inputs: Sequence[str], *, output: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        made = output or self._graph.fresh(kind.lower())
        self.nodes.append(helper.make_node(kind, list(inputs), [made], **attributes))
        return made

    def constant(self, stem: str, value: Array | float | list[int]) -> str:
        """Add a constant that the nodes read."""
        if isinstance(value, float):
            value = np.float32(value)  # type: ignore[assignment]
        array = np.asarray(value, dtype=np.int64 if isinstance(value, list) else None)
        return self._graph.add_constant(stem, array)
