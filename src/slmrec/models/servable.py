"""The model that is served: ONNX graphs and their catalogue, opened without torch."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
from numpy.typing import NDArray

from slmrec.artifacts import Artifact
from slmrec.columns import ItemIndex
from slmrec.errors import ArtifactError, DataError
from slmrec.models.machine import saturating_products, usable_threads
from slmrec.models.packed_memory import PackedMemory
from slmrec.models.rank_rows import list_rows
from slmrec.models.scorer import History

KIND = "servable"
LAYERS, RECOMMEND, WEIGHTS = "layers.onnx", "recommend.onnx", "weights.safetensors"
"""Two graphs, and what both read: the layers, which are run here, and the whole way from histories to
lists for whoever serves with ONNX Runtime alone."""
CATALOGUE = "items.parquet"
PARITY = "parity.json"
"""How far the graphs are from the model that they were made of."""
GRAPH_SCHEMA = 4
"""Raised when inputs, outputs or files of the graphs change."""
PART, PART_BYTES = 64, 8 * 2**20
"""Histories, and bytes of scores, in one call of a graph: what caches hold. Calls run side by side."""
FEWEST, FEWEST_BYTES = 16, 256 * 2**20
"""Histories in one call also where their scores leave the caches, for each call reads the whole table
of items; and bytes of scores in all calls together beyond which there are fewer all the same."""
LARGE_CATALOGUE = 50_000
"""Items from which several threads are worth their coordination inside one call."""

Items = NDArray[np.int32]
Int64 = NDArray[np.int64]
Rows = NDArray[np.int64]
_NOBODY: Items = np.empty(0, dtype=np.int32)
Floats = NDArray[np.float32]


class Forward:
    """From histories to scores of the catalogue: the graph of the layers, then the memory."""

    def __init__(
        self, graph: Path, weights: Path, *, items: int, max_length: int, threads: int
    ) -> None:
        """Open the graph of the layers and the weights beside it; `threads` work inside one call.

        `items` is the size of the catalogue, `max_length` of the newest items that the layers read.

        Raises `ArtifactError` when ONNX Runtime cannot load the graph, or the memory is broken.
        """
        self._session = open_graph(graph, threads)
        self._graph = graph
        self._memory = PackedMemory.read(weights, items)
        self._items = items
        self._max_length = max_length

    def __call__(self, histories: Sequence[History]) -> tuple[Floats, Floats]:
        """Scores [histories, items + 1], and the states [histories, width] that they are made of.

        Raises `DataError` when a history has an item that is not in the catalogue.
        """
        return self.of_flat(*flat(histories))

    def of_flat(self, items: Items, starts: Int64) -> tuple[Floats, Floats]:
        """The same for histories as `flat` gives them."""
        if len(items) and not 0 <= items.min() <= items.max() <= self._items:
            raise DataError(
                f"histories with items {items.min()} to {items.max()}, expected 0 to {self._items}; "
                "are they numbered by this model's catalogue?"
            )
        inputs = flat_inputs(items, starts, self._max_length)
        scores, states = self._run(inputs, "layer_scores", "states")
        expected = (len(starts) - 1, self._items + 1)
        if scores.shape != expected or scores.dtype != np.float32:
            raise ArtifactError(
                f"{self._graph}: gives {scores.dtype} {scores.shape}, expected float32 {expected}; "
                "quantize the student again"
            )
        if self._memory is not None:
            self._memory.add(scores, items, starts)
        return scores, states

    def states(self, histories: Sequence[History]) -> Floats:
        """The states alone."""
        (states,) = self._run(graph_inputs(histories, self._max_length), "states")
        return states

    def _run(self, inputs: dict[str, Int64], *asked: str) -> list[Floats]:
        try:
            found: list[Floats] = self._session.run(asked, inputs)
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise ArtifactError(
                f"{self._graph}: ONNX Runtime cannot run it ({error}); quantize the student again"
            ) from error
        return found


class Servable:
    """Scores histories with ONNX Runtime; needs no torch.

    Both graphs read `items` int64 [batch, length], padded on the right with 0, and `last` int64
    [batch]. `layers.onnx` gives `layer_scores` float32 [batch, items + 1] and `states` [batch, width],
    of which they are made; a memory, if there is one, is among the weights. `recommend.onnx` holds the
    memory, too; it also reads `seen` int64 [batch, any number], with at least one 0, and `k` int64 [1],
    and gives `best_items` and `best_scores` [batch, k], where an item with a score of -inf is none.
    """

    def __init__(self, artifact: Artifact, threads: int = 0) -> None:
        """`threads` 0: as many as this process may use.

        Raises `ArtifactError` when the graphs are of another version.
        """
        found = artifact.properties.get("graph_schema")
        if found != GRAPH_SCHEMA:
            raise ArtifactError(
                f"{artifact.path}: its graphs have schema {found}, this version of slmrec reads "
                f"{GRAPH_SCHEMA}; quantize the student again"
            )
        self.artifact = artifact
        self.name = str(artifact.properties["name"])
        self.weights = str(artifact.properties["weights"])
        self.items = int(artifact.properties["items"])
        self.max_length = int(artifact.properties["max_length"])
        self.parameters_total = int(artifact.properties["parameters_total"])
        self.parameters_backbone = int(artifact.properties["parameters_backbone"])
        files = (LAYERS, RECOMMEND, WEIGHTS)
        self.bytes = sum(artifact.file(name).stat().st_size for name in files)
        self._threads = threads or usable_threads()

    @cached_property
    def catalogue(self) -> pl.DataFrame:
        """Item ids and titles by item index (columns `ItemIndex`)."""
        return pl.read_parquet(self.artifact.file(CATALOGUE))

    @cached_property
    def item_ids(self) -> list[str]:
        """Item ids by item index; the first stands for none."""
        ids = self.catalogue.sort(ItemIndex.INDEX)[ItemIndex.ITEM].cast(str)
        return ["", *ids.to_list()]

    def most_popular(self, k: int) -> tuple[Int64, Floats]:
        """The `k` items that were most often touched in the log and how often, ties by index.

        What people are given of whom no item is known. As `best` gives it for one of them: [k].
        """
        listed, counts = self._by_popularity
        items = np.zeros(k, dtype=np.int64)
        found = np.full(k, -np.inf, dtype=np.float32)
        wanted = min(k, len(listed))
        items[:wanted], found[:wanted] = listed[:wanted], counts[:wanted]
        return items, found

    @cached_property
    def _by_popularity(self) -> tuple[Int64, Floats]:
        counts = self.catalogue.sort(ItemIndex.INDEX)[ItemIndex.COUNT].to_numpy()
        order = np.argsort(-counts, kind="stable")
        return 1 + order, counts[order].astype(np.float32)

    def scores(self, histories: Sequence[History]) -> Floats:
        """Scores of every item: float32 [histories, items + 1]; column 0 means nothing."""
        scores = np.empty((len(histories), self.items + 1), dtype=np.float32)
        if not histories:
            return scores
        forward = self._forward

        def take(rows: Rows) -> None:
            scores[rows] = forward([histories[row] for row in rows])[0]

        self._in_parts(take, histories, PART)
        return scores

    def states(self, histories: Sequence[History]) -> Floats:
        """What the layers make of each history, before the last norm: float32 [histories, width]."""
        found: dict[int, Floats] = {}
        forward = self._forward

        def take(rows: Rows) -> None:
            made = forward.states([histories[row] for row in rows])
            found.update(zip(rows.tolist(), made, strict=True))

        self._in_parts(take, histories, PART)
        return np.stack([found[row] for row in range(len(histories))])

    def best(
        self, histories: Sequence[History], k: int, *, exclude_seen: bool
    ) -> tuple[Int64, Floats]:
        """The `k` best items of each history and their scores, best first, ties to the smaller index.

        Returns int64 and float32 [histories, k]; an item is 0 and its score -inf where fewer are left.
        All of a history counts as seen, also what is older than the model reads.
        Raises `ArtifactError` when a score is NaN.
        """
        wanted = min(k, self.items)
        items = np.zeros((len(histories), k), dtype=np.int64)
        best = np.full((len(histories), k), -np.inf, dtype=np.float32)
        if not histories:
            return items, best
        forward = self._forward

        def take(rows: Rows) -> None:
            known, starts = flat([histories[row] for row in rows])
            scores, _ = forward.of_flat(known, starts)
            left_out = starts if exclude_seen else np.zeros_like(starts)
            listed = np.empty((len(rows), wanted), dtype=np.int64)
            values = np.empty((len(rows), wanted), dtype=np.float32)
            if list_rows(scores, known, left_out, listed, values) >= 0:
                raise ArtifactError(
                    f"{self.artifact.path}: a score is NaN, expected numbers only; its training has "
                    "probably diverged: roll back to another version and retrain"
                )
            items[rows, :wanted], best[rows, :wanted] = listed, values

        self._in_parts(take, histories, min(PART, -(-len(histories) // self._threads)))
        return items, best

    def _in_parts(
        self, take: Callable[[Rows], None], histories: Sequence[History], most: int
    ) -> None:
        """Call `take` with parts of the rows, one thread a part.

        Rows of a part have histories of about the same length, so there is little padding.
        """
        row_bytes = 4 * (self.items + 1)
        fewest = min(FEWEST, FEWEST_BYTES // (row_bytes * self._threads))
        wanted = max(PART_BYTES // row_bytes, fewest, 1)
        rows = min(most, wanted)
        order = np.argsort([len(history) for history in histories], kind="stable")
        parts = [order[start : start + rows] for start in range(0, len(order), rows)]
        if len(parts) == 1 or self._threads == 1:
            for part in parts:
                take(part)
        else:
            list(self._pool.map(take, parts))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="servable")

    @cached_property
    def _forward(self) -> Forward:
        inside = self._threads if self.items >= LARGE_CATALOGUE else 1
        graph, weights = (self.artifact.file(name) for name in (LAYERS, WEIGHTS))
        return Forward(graph, weights, items=self.items, max_length=self.max_length, threads=inside)


def graph_inputs(histories: Sequence[History], max_length: int) -> dict[str, Int64]:
    """What both graphs read of histories: the newest items, padded on the right."""
    return flat_inputs(*flat(histories), max_length)


def flat(histories: Sequence[History]) -> tuple[Items, Int64]:
    """Histories one behind the other, int32 [any], and where each begins and the last one ends."""
    starts = np.zeros(len(histories) + 1, dtype=np.int64)
    np.cumsum([len(history) for history in histories], out=starts[1:])
    items = np.concatenate([_NOBODY, *histories])
    if items.dtype != np.int32:  # what does not fit stays an item that no catalogue has
        items = np.clip(items, -1, np.iinfo(np.int32).max).astype(np.int32)
    return items, starts


def flat_inputs(items: Items, starts: Int64, max_length: int) -> dict[str, Int64]:
    """What both graphs read of histories as `flat` gives them; an empty one is one padding."""
    ends = starts[1:]
    lengths = np.minimum(ends - starts[:-1], max_length)
    places = np.arange(max(int(lengths.max(initial=0)), 1))
    there = places < lengths[:, None]
    newest = np.zeros(there.shape, dtype=np.int64)
    newest[there] = items[((ends - lengths)[:, None] + places)[there]]
    return {"items": newest, "last": np.maximum(lengths - 1, 0)}


def open_graph(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load a graph; `threads` 0: as many as this process may use.

    Raises `ArtifactError` when ONNX Runtime cannot.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_threads()
    options.log_severity_level = 3
    if saturating_products():
        options.add_session_config_entry("session.x64quantprecision", "1")
    # Threads that spin between requests take the processor from whatever else serves.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no public base
        raise ArtifactError(
            f"{path}: ONNX Runtime cannot load it ({error}); quantize the student again with "
            "this version of slmrec"
        ) from error
