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
from slmrec.errors import ArtifactError
from slmrec.models.machine import saturating_products, usable_threads
from slmrec.models.scorer import History

KIND = "servable"
SCORES, RECOMMEND, WEIGHTS = "scores.onnx", "recommend.onnx", "weights.safetensors"
"""Two graphs, and what both read."""
CATALOGUE = "items.parquet"
PARITY = "parity.json"
"""How far the graphs are from the model that they were made of."""
GRAPH_SCHEMA = 3
"""Raised when inputs, outputs or files of the graphs change."""
PART, PART_BYTES = 32, 8 * 2**20
"""Histories, and bytes of scores, in one call of a graph: what caches hold. Calls run side by side."""
LARGE_CATALOGUE = 50_000
"""Items from which several threads are worth their coordination inside one call."""

Int64 = NDArray[np.int64]
Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class Servable:
    """Scores histories with ONNX Runtime; needs no torch.

    Both graphs read `items` int64 [batch, length], padded on the right with 0, and `last` int64
    [batch]. `scores.onnx` gives `scores` float32 [batch, items + 1] and `states` [batch, width], of
    which they are made. `recommend.onnx` also reads `seen` int64 [batch, any number], with at least
    one 0, and `k` int64 [1]; it gives `best_items` and `best_scores` [batch, k].
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
        files = (SCORES, RECOMMEND, WEIGHTS)
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
        session = self._scoring

        def take(rows: Rows) -> None:
            part = [histories[row] for row in rows]
            scores[rows] = session.run(["scores"], graph_inputs(part, self.max_length))[0]

        self._in_parts(take, histories, PART)
        return scores

    def states(self, histories: Sequence[History]) -> Floats:
        """What the layers make of each history, before the last norm: float32 [histories, width]."""
        found: dict[int, Floats] = {}
        session = self._scoring

        def take(rows: Rows) -> None:
            part = [histories[row] for row in rows]
            made = session.run(["states"], graph_inputs(part, self.max_length))[0]
            found.update(zip(rows.tolist(), made, strict=True))

        self._in_parts(take, histories, PART)
        return np.stack([found[row] for row in range(len(histories))])

    def best(
        self, histories: Sequence[History], k: int, *, exclude_seen: bool
    ) -> tuple[Int64, Floats]:
        """The `k` best items of each history and their scores, best first, ties to the smaller index.

        Returns int64 and float32 [histories, k]; an item is 0 and its score -inf where fewer are left.
        All of a history counts as seen, also what is older than the model reads.
        """
        wanted = min(k, self.items)
        items = np.zeros((len(histories), k), dtype=np.int64)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        if not histories:
            return items, scores
        session = self._listing

        def take(rows: Rows) -> None:
            part = [histories[row] for row in rows]
            seen = part if exclude_seen else [history[:0] for history in part]
            inputs = graph_inputs(part, self.max_length) | {
                "seen": _padded(seen, 1),
                "k": np.asarray([wanted], dtype=np.int64),
            }
            found, values = session.run(["best_items", "best_scores"], inputs)
            items[rows, :wanted] = np.where(values > -np.inf, found, 0)
            scores[rows, :wanted] = values

        self._in_parts(take, histories, min(PART, -(-len(histories) // self._threads)))
        return items, scores

    def _in_parts(
        self, take: Callable[[Rows], None], histories: Sequence[History], most: int
    ) -> None:
        """Call `take` with parts of the rows, one thread a part.

        Rows of a part have histories of about the same length, so there is little padding.
        """
        rows = max(min(most, PART_BYTES // (4 * (self.items + 1))), 1)
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
    def _scoring(self) -> onnxruntime.InferenceSession:
        return self._opened(SCORES)

    @cached_property
    def _listing(self) -> onnxruntime.InferenceSession:
        return self._opened(RECOMMEND)

    def _opened(self, name: str) -> onnxruntime.InferenceSession:
        inside = self._threads if self.items >= LARGE_CATALOGUE else 1
        return open_graph(self.artifact.file(name), inside)


def graph_inputs(histories: Sequence[History], max_length: int) -> dict[str, Int64]:
    """What both graphs read of histories: the newest items, padded on the right."""
    newest = [history[-max_length:] for history in histories]
    lengths = np.asarray([len(history) for history in newest], dtype=np.int64)
    return {"items": _padded(newest), "last": np.maximum(lengths - 1, 0)}


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


def _padded(histories: Sequence[History], more: int = 0) -> Int64:
    """Histories as rows that end in zeros: at least one where empty, and `more` in every row."""
    longest = max((len(history) for history in histories), default=0)
    items = np.zeros((len(histories), max(longest + more, 1)), dtype=np.int64)
    for row, history in enumerate(histories):
        items[row, : len(history)] = history
    return items
