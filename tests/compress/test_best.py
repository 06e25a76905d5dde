"""Groups find the same as looking at everything does."""

import numpy as np
import onnxruntime
import pytest

from slmrec.compress.best import add_best, group_size
from slmrec.compress.graph import FLOAT, INT64, Graph


def session(columns: int) -> onnxruntime.InferenceSession:
    graph = Graph(
        inputs={"scores": (FLOAT, ["batch", columns]), "k": (INT64, [1])},
        outputs={"values": (FLOAT, ["batch", "k"]), "places": (INT64, ["batch", "k"])},
    )
    add_best(graph, "scores", columns, "k", ("values", "places"))
    return onnxruntime.InferenceSession(
        graph.model().SerializeToString(), providers=["CPUExecutionProvider"]
    )


def best(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Best first, ties to the smaller place."""
    places = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, places, axis=1), places


@pytest.mark.parametrize("columns", [40, 1024, 1031, 5000])
@pytest.mark.parametrize("different", [3, 1_000_000], ids=["ties", "no ties"])
def test_lists_are_those_of_a_whole_sort(columns: int, different: int) -> None:
    rng = np.random.default_rng(columns)
    graph = session(columns)
    for k in (1, 10, 33, columns // 2, columns):
        scores = rng.integers(-different, different, (7, columns)).astype(np.float32)
        scores[rng.random(scores.shape) < 0.1] = -np.inf
        scores[0] = -np.inf
        scores[1, :-1] = -np.inf  # the best one stands in the last group, which is not full
        values, places = graph.run(None, {"scores": scores, "k": np.array([k])})
        expected_values, expected_places = best(scores, k)
        assert np.array_equal(values, expected_values), k
        there = expected_values > -np.inf
        assert np.array_equal(places[there], expected_places[there]), k


def test_nobody_is_given_no_list() -> None:
    scores = np.zeros((0, 2000), np.float32)
    values, places = session(2000).run(None, {"scores": scores, "k": np.array([10])})
    assert values.shape == places.shape == (0, 10)


def test_ten_groups_hold_about_as_many_as_there_are_groups() -> None:
    assert [group_size(columns) for columns in (1024, 12_000, 1_000_000)] == [8, 32, 256]
