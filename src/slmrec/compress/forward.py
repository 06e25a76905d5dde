"""A student's forward pass as an ONNX graph: (items, last) → scores of the catalogue.

It computes what `Decoder.catalogue_scores` computes, in the numbers in which a `Storage` keeps it. The
last layer works for the newest position alone; what is popular comes as a bias of the product with the
item table, and transitions change the scores of a few items in place. That last part comes on top of a
graph of the layers, since whoever serves with slmrec does it faster (`slmrec.models.packed_memory`).
"""

import numpy as np
import onnx
from numpy.typing import NDArray

from slmrec.compress.graph import FLOAT, INT64, Graph
from slmrec.compress.integers import Floats, quantize_roots
from slmrec.compress.storage import Storage
from slmrec.compress.tables import ByteTable, rms_norm
from slmrec.models.decoder import DecoderLayer
from slmrec.models.memory import FLOOR, CountedMemory
from slmrec.models.packed_memory import PREFIX, PackedMemory
from slmrec.models.transitions import DECAY, RECENT

ITEMS, LAST, LAYER_SCORES, SCORES, STATES = "items", "last", "layer_scores", "scores", "states"
_NOTHING = 1e-12


def write_layers(storage: Storage) -> Graph:
    """The graph without a memory's transitions: `items` int64 [batch, length], `last` int64 [batch].

    It gives `layer_scores` [batch, items + 1] and `states` [batch, width], what enters the last norm.
    """
    return _Layers(storage).write()


def with_memory(layers: Graph, storage: Storage) -> Graph:
    """A copy with the memory's transitions, if there is one: it gives `scores` and `states`."""
    graph = layers.copied()
    memory = storage.model.memory
    scores = LAYER_SCORES
    if memory is not None:
        packed = pack(memory, max_length=storage.model.max_length, in_bytes=storage.memory_in_bytes)
        scores = _Transitions(graph, packed).write()
    graph.call("Identity", scores, output=SCORES)
    graph.outputs = {
        SCORES: graph.outputs[LAYER_SCORES],
        STATES: graph.outputs[STATES],
    }
    return graph


def write_forward(storage: Storage) -> Graph:
    """The whole pass: `items`, `last` → `scores` [batch, items + 1] and `states` [batch, width]."""
    return with_memory(write_layers(storage), storage)


def pack(memory: CountedMemory, *, max_length: int, in_bytes: bool) -> PackedMemory:
    """A memory's transitions without the places that an item leaves empty.

    `max_length` are the items of a history that the model reads; it looks up no older ones.
    """
    weights = memory.weights.numpy()
    kept = weights > 0
    sizes = kept.sum(axis=1)
    neighbours = np.concatenate([[0], memory.neighbours.numpy()[kept]])
    if in_bytes:
        roots = quantize_roots(weights)
        held, steps = np.concatenate([[np.uint8(0)], roots.bytes[kept]]), roots.step
    else:
        held = np.concatenate([[np.float32(0)], weights[kept]])
        steps = np.zeros((0, 1), dtype=np.float32)
    return PackedMemory(
        starts=_small(1 + np.cumsum(sizes) - sizes),
        sizes=_small(sizes),
        neighbours=neighbours.astype(np.min_scalar_type(len(kept))),
        weights=held,
        steps=steps,
        decay=np.asarray(DECAY ** np.arange(min(RECENT, max_length)), dtype=np.float32)[:, None],
        floor=np.asarray([FLOOR], dtype=np.float32),
        gain=np.asarray([float(memory.gain)], dtype=np.float32),
    )


def _small(values: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    return values.astype(np.min_scalar_type(int(values.max())))


class _Layers:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._model = storage.model
        self._shape = storage.model.shape
        self._graph = Graph()
        self._table = storage.items

    def write(self) -> Graph:
        graph, memory = self._graph, self._model.memory
        newest = graph.call("Unsqueeze", LAST, graph.integers([1]))  # [batch, 1]
        states = self._last_states(newest)
        bias = "" if memory is None else graph.constant("popular", memory.popular.numpy())
        scores = self._table.scores(
            graph, states, _array(self._model.norm.weight), self._shape.rms_epsilon, bias
        )
        graph.call("Identity", scores, output=LAYER_SCORES)
        graph.call("Identity", states, output=STATES)
        graph.inputs = {ITEMS: (INT64, ["batch", "length"]), LAST: (INT64, ["batch"])}
        graph.outputs = {
            LAYER_SCORES: (FLOAT, ["batch", self._shape.items + 1]),
            STATES: (FLOAT, ["batch", self._shape.width]),
        }
        return graph

    def _last_states(self, newest: str) -> str:  # [batch, width], not yet normed
        graph = self._graph
        layers: list[DecoderLayer] = list(self._model.layers)  # type: ignore[arg-type]
        places = self._places()
        hidden = ""  # before the first layer embeddings are made only where they are read
        for number, layer in enumerate(layers[:-1]):
            states = hidden or self._table.rows(graph, ITEMS)
            query, key, value = (
                self._projected(number, layer, hidden, module)
                for module in ("q_proj", "k_proj", "v_proj")
            )
            mixed = graph.call(
                "Attention",
                self._rotated(query, places, layer),
                self._rotated(key, places, layer),
                value,
                q_num_heads=layer.self_attn.heads,
                kv_num_heads=layer.self_attn.heads,
                is_causal=1,
            )
            hidden = self._behind_attention(number, layer, states, mixed)
        number, layer = len(layers) - 1, layers[-1]
        key, value = (self._projected(number, layer, hidden, m) for m in ("k_proj", "v_proj"))
        own = self._at(hidden, newest)  # [batch, 1, width]
        normed = self._normed(own, layer.input_layernorm.weight)
        query = self._times(
            normed, _turned(layer.self_attn.q_proj), _name(number, "self_attn.q_proj")
        )
        seen = graph.call("LessOrEqual", places, newest)  # [batch, length]
        mixed = graph.call(
            "Attention",
            self._rotated(query, newest, layer),
            self._rotated(key, places, layer),
            value,
            graph.call("Unsqueeze", seen, graph.integers([1, 2])),
            q_num_heads=layer.self_attn.heads,
            kv_num_heads=layer.self_attn.heads,
        )
        states = self._behind_attention(number, layer, own, mixed)
        return graph.call("Squeeze", states, graph.integers([1]))

    def _places(self) -> str:  # int64 [batch, length]: 0, 1, 2, …
        graph = self._graph
        shape = graph.call("Shape", ITEMS)
        length = graph.call("Gather", shape, graph.number(1, np.int64))
        zero, one = graph.number(0, np.int64), graph.number(1, np.int64)
        return graph.call("Expand", graph.call("Range", zero, length, one), shape)

    def _at(self, hidden: str, newest: str) -> str:  # [batch, 1, width]
        graph = self._graph
        if not hidden:
            return self._table.rows(graph, graph.call("GatherElements", ITEMS, newest, axis=1))
        found = graph.call("GatherND", hidden, newest, batch_dims=1)
        return graph.call("Unsqueeze", found, graph.integers([1]))

    def _projected(self, number: int, layer: DecoderLayer, hidden: str, module: str) -> str:
        """Queries, keys or values of all positions.

        What several of them read is written several times; ONNX Runtime makes it once.
        """
        weights = _turned(layer.self_attn.get_submodule(module))
        norm = layer.input_layernorm.weight
        if not hidden and isinstance(self._table, ByteTable):
            epsilon = self._shape.rms_epsilon
            return self._table.projected(self._graph, ITEMS, _array(norm), epsilon, weights)
        states = self._normed(hidden or self._table.rows(self._graph, ITEMS), norm)
        return self._times(states, weights, _name(number, f"self_attn.{module}"))

    def _behind_attention(self, number: int, layer: DecoderLayer, states: str, mixed: str) -> str:
        graph = self._graph
        out = self._times(mixed, _turned(layer.self_attn.o_proj), _name(number, "self_attn.o_proj"))
        states = graph.call("Add", states, out)
        normed = self._normed(states, layer.post_attention_layernorm.weight)
        network = layer.mlp
        gate = self._times(normed, _turned(network.gate_proj), _name(number, "mlp.gate_proj"))
        up = self._times(normed, _turned(network.up_proj), _name(number, "mlp.up_proj"))
        channels = graph.call("Mul", graph.call("Mul", gate, graph.call("Sigmoid", gate)), up)
        down = self._times(channels, _turned(network.down_proj), _name(number, "mlp.down_proj"))
        return graph.call("Add", states, down)

    def _rotated(self, states: str, places: str, layer: DecoderLayer) -> str:
        graph, shape = self._graph, self._shape
        half = np.arange(0, shape.head_width, 2, dtype=np.float32) / shape.head_width
        place = np.arange(shape.max_length, dtype=np.float32)[:, None]
        angle = place * shape.rope_theta**-half
        return graph.call(
            "RotaryEmbedding",
            states,
            self._graph.constant("cosine", np.cos(angle).astype(np.float32)),
            self._graph.constant("sine", np.sin(angle).astype(np.float32)),
            places,
            num_heads=layer.self_attn.heads,
        )

    def _normed(self, states: str, weight: object) -> str:
        return rms_norm(self._graph, states, _array(weight), self._shape.rms_epsilon)

    def _times(self, states: str, weights: Floats, entered: str) -> str:
        return self._storage.matrix(weights, entered).times(self._graph, states)


class _Transitions:
    def __init__(self, graph: Graph, memory: PackedMemory) -> None:
        self._graph = graph
        self._memory = memory
        self._tables = {name: graph.table(name, array) for name, array in memory.named().items()}

    def write(self) -> str:
        """Scores with what transitions from the newest items add, at the items that they lead to."""
        graph, scores = self._graph, LAYER_SCORES
        newest = graph.call("Unsqueeze", LAST, graph.integers([1]))  # [batch, 1]
        ages = np.arange(len(self._memory.decay))
        place = graph.call("Sub", newest, graph.constant("ages", ages))
        zero = graph.number(0, np.int64)
        there = graph.call("Max", place, zero)
        items = graph.call("GatherElements", ITEMS, there, axis=1)
        real = graph.call("Cast", graph.call("GreaterOrEqual", place, zero), to=INT64)
        items = graph.call("Mul", items, real)  # padding leads nowhere
        flat = graph.integers([0, -1])
        index = self._places_of(items)  # [batch, ages, transitions]
        follows = graph.call(
            "Cast", graph.call("Gather", self._table("neighbours"), index), to=INT64
        )
        follows = graph.call("Reshape", follows, flat)  # [batch, ages · transitions]
        weights = graph.call("Mul", self._weights(items, index), self._table("decay"))
        weights = graph.call("Reshape", weights, flat)
        empty = onnx.numpy_helper.from_array(np.zeros(1, dtype=np.float32))
        nothing = graph.call("ConstantOfShape", graph.call("Shape", scores), value=empty)
        found = graph.call("ScatterElements", nothing, follows, weights, axis=1, reduction="add")
        total = graph.call("ReduceSum", weights, graph.integers([1]), keepdims=1)
        total = graph.call("Max", total, graph.number(_NOTHING))
        share = graph.call("Div", graph.call("GatherElements", found, follows, axis=1), total)
        share = graph.call("Div", share, self._table("floor"))
        logarithm = graph.call("Log", graph.call("Add", share, graph.number(1.0)))
        more = graph.call("Mul", logarithm, self._table("gain"))
        before = graph.call("GatherElements", scores, follows, axis=1)
        after = graph.call("Add", before, more)
        return graph.call("ScatterElements", scores, follows, after, axis=1)

    def _table(self, field: str) -> str:
        return self._tables[f"{PREFIX}{field}"]

    def _places_of(self, items: str) -> str:
        """Where the transitions of items lie among all: int64 [batch, ages, most of an item]."""
        graph = self._graph
        last = graph.integers([-1])

        def of_item(field: str) -> str:
            found = graph.call("Cast", graph.call("Gather", self._table(field), items), to=INT64)
            return graph.call("Unsqueeze", found, last)

        places = graph.integers(range(max(int(self._memory.sizes.max()), 1)))
        there = graph.call("Less", places, of_item("sizes"))
        index = graph.call("Add", of_item("starts"), places)
        return graph.call("Where", there, index, graph.number(0, np.int64))

    def _weights(self, items: str, index: str) -> str:  # [batch, ages, transitions]
        graph = self._graph
        found = graph.call("Gather", self._table("weights"), index)
        if not self._memory.steps.size:
            return found
        each = graph.call("Gather", self._table("steps"), items)
        root = graph.call("Mul", graph.call("Cast", found, to=FLOAT), each)
        return graph.call("Mul", root, root)


def _name(number: int, module: str) -> str:
    return f"layers.{number}.{module}"


def _turned(module: object) -> Floats:  # [inputs, outputs]
    return np.ascontiguousarray(_array(module.weight).T)  # type: ignore[attr-defined]


def _array(parameter: object) -> Floats:
    return parameter.detach().numpy()  # type: ignore[attr-defined]
