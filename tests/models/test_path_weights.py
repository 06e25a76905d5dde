"""Two hops through a graph, against products of whole matrices."""

import numpy as np
import pytest
from scipy import sparse

from slmrec.models.path_weights import Taken, TransitionGraph, add_dense_product, path_scores

ITEMS = 23
NOTHING = np.float32(1e-6)


@pytest.fixture(params=["sparse", "dense"])
def graph(request) -> TransitionGraph:
    rng = np.random.default_rng(0)
    edges = rng.random((ITEMS, ITEMS)).astype(np.float32)
    edges[rng.random(edges.shape) < 0.9] = 0
    return TransitionGraph(
        sparse.csr_matrix(edges),
        edges if request.param == "dense" else np.zeros((0, 0), np.float32),
        rng.random(ITEMS).astype(np.float32),
        (np.arange(ITEMS) / ITEMS).astype(np.float32),
    )


def entries(rows: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    made = rng.random((rows, ITEMS)).astype(np.float32)
    made[rng.random(made.shape) < 0.9] = 0
    return made


def by_matrices(graph: TransitionGraph, entering: np.ndarray) -> np.ndarray:
    edges = graph.edges.toarray()
    first = entering @ edges
    paths = first + (first * graph.second) @ edges
    least = np.minimum(np.where(paths > 0, paths, 1).min(axis=1, keepdims=True), 1)
    return np.where(paths > 0, paths, least * graph.order)


def test_weights_are_those_of_products_and_the_rest_comes_below_in_its_order(
    graph: TransitionGraph,
) -> None:
    entering = entries(40)
    entering[3] = 0  # enters nowhere: nothing is reached
    found = path_scores(graph, sparse.csr_matrix(entering), Taken.nothing(40, ITEMS), NOTHING)
    assert found == pytest.approx(by_matrices(graph, entering), rel=1e-5)
    assert found[3] == pytest.approx(graph.order)


def test_a_row_has_the_same_bits_alone(graph: TransitionGraph) -> None:
    entering = sparse.csr_matrix(entries(40))
    together = path_scores(graph, entering, Taken.nothing(40, ITEMS), NOTHING)
    for row in range(40):
        alone = path_scores(graph, entering[[row]], Taken.nothing(1, ITEMS), NOTHING)
        assert np.array_equal(alone[0], together[row])


def test_no_rows_give_no_scores(graph: TransitionGraph) -> None:
    none = sparse.csr_matrix((0, ITEMS), dtype=np.float32)
    assert path_scores(graph, none, Taken.nothing(0, ITEMS), NOTHING).shape == (0, ITEMS)


@pytest.mark.parametrize("items", [1, 4, 7, 40])
def test_a_dense_product_is_added(items: int) -> None:
    rng = np.random.default_rng(items)
    total, weights = rng.random((2, 18, items)).astype(np.float32)
    dense = rng.random((items, items)).astype(np.float32)
    expected = total + weights @ dense
    add_dense_product(total, weights, dense)
    assert total == pytest.approx(expected, rel=1e-5)
