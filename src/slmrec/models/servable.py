"""The model that is served: an ONNX graph and its catalogue, opened without torch."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import onnxruntime
import polars as pl
from numpy.typing import NDArray

from slmrec.artifacts import Artifact
from slmrec.errors import ArtifactError
from slmrec.models.scorer import History

KIND = "servable"
MODEL = "model.onnx"
CATALOGUE = "items.parquet"


class Servable:
    """Scores histories with ONNX Runtime; needs no torch.

    The graph reads `items` int64 [batch, length], padded on the right with 0, and `last` int64
    [batch], and gives `scores` float32 [batch, items + 1].
    """

    def __init__(self, artifact: Artifact, threads: int = 0) -> None:
        self.artifact = artifact
        self.name = str(artifact.properties["name"])
        self.max_length = int(artifact.properties["max_length"])
        self.parameters_total = int(artifact.properties["parameters_total"])
        self.parameters_backbone = int(artifact.properties["parameters_backbone"])
        self.bytes = artifact.file(MODEL).stat().st_size
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that spin between requests take the processor from whatever else serves.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(artifact.file(MODEL)), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise ArtifactError(
                f"{artifact.file(MODEL)}: ONNX Runtime cannot load it ({error}); quantize the "
                "student again with this version of slmrec"
            ) from error

    @cached_property
    def catalogue(self) -> pl.DataFrame:
        """Item ids and titles by item index (columns `ItemIndex`)."""
        return pl.read_parquet(self.artifact.file(CATALOGUE))

    def scores(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Scores of every item: float32 [histories, items + 1]; column 0 means nothing."""
        newest = [history[-self.max_length :] for history in histories]
        lengths = np.asarray([len(history) for history in newest], dtype=np.int64)
        items = np.zeros((len(newest), max(int(lengths.max(initial=1)), 1)), dtype=np.int64)
        for row, history in enumerate(newest):
            items[row, : len(history)] = history
        inputs = {"items": items, "last": np.maximum(lengths - 1, 0)}
        scores: NDArray[np.float32] = self._session.run(["scores"], inputs)[0]
        return scores
