"""A teacher whose networks run in ONNX Runtime, so that a student is compared with its best."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slmrec.compress.export import write_graphs
from slmrec.compress.forward import SCORES, write_forward
from slmrec.compress.storage import Storage
from slmrec.config import Variant
from slmrec.models.decoder import Decoder
from slmrec.models.ensemble import Ensemble, Floats
from slmrec.models.scorer import History
from slmrec.models.servable import graph_inputs, open_graph

_GRAPH = "scores.onnx"


class FastTeacher:
    """A stored teacher behind the `Scorer` interface, its decoders as float32 graphs.

    Scores differ from the torch teacher's by rounding. For timing; graphs lie in a folder of the
    caller's, which has to stay.
    """

    def __init__(self, teacher: Ensemble | Decoder, folder: Path, threads: int = 0) -> None:
        self._ensemble = teacher if isinstance(teacher, Ensemble) else None
        networks = [teacher] if isinstance(teacher, Decoder) else teacher.networks
        self._max_length = teacher.max_length
        self._sessions = []
        for number, network in enumerate(networks):
            assert isinstance(network, Decoder)
            place = folder / str(number)
            place.mkdir(parents=True)
            plain = Variant(name="network", weights="float32")
            write_graphs({_GRAPH: write_forward(Storage.of(network, plain, []))}, place)
            self._sessions.append(open_graph(place / _GRAPH, threads))
        self.name = "teacher"
        self.bytes = 0
        self.parameters_total = teacher.parameters_total()
        self.parameters_backbone = teacher.parameters_backbone()

    def scores(self, histories: Sequence[History]) -> Floats:
        """Logits of every item: float32 [histories, items + 1]."""
        inputs = graph_inputs(histories, self._max_length)
        parts = [session.run([SCORES], inputs)[0] for session in self._sessions]
        mean: Floats = np.mean(parts, axis=0, dtype=np.float32)
        return mean if self._ensemble is None else self._ensemble.with_counted(mean, histories)


def fast_teacher(teacher: object, folder: Path, threads: int = 0) -> FastTeacher | None:
    """The teacher in ONNX Runtime, or none where it has networks that are no decoders of ours."""
    networks = teacher.networks if isinstance(teacher, Ensemble) else [teacher]
    if not all(isinstance(network, Decoder) for network in networks):
        return None
    assert isinstance(teacher, Ensemble | Decoder)
    return FastTeacher(teacher, folder, threads)
