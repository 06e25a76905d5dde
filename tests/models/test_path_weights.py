import numpy as np
import pytest
from scipy import sparse

from slmrec.models.path_weights import add_onward, add_product, fill_unreached

GRAPH = sparse.csr_matrix(
    np.array([[0, 0, 0, 0], [0, 0, 0.5, 2], [0, 0, 0, 4], [0, 1, 0, 0]], np.float32)
)


def test_a_product_is_added_to_what_is_there():
    weights = sparse.csr_matrix(np.array([[0, 1, 2, 0], [0, 0, 0, 0], [0, 0, 0, 3]], np.float32))
    found = np.ones((3, 4), np.float32)
    add_product(found, weights, GRAPH)
    assert found.tolist() == [[1, 1, 1 + 0.5, 1 + 2 + 2 * 4], [1, 1, 1, 1], [1, 1 + 3, 1, 1]]


def test_dense_weights_go_on_as_sparse_ones_do():
    dense = np.random.default_rng(0).random((6, 4)).astype(np.float32)
    dense[dense < 0.6] = 0
    found, expected = np.zeros((2, 6, 4), np.float32)
    add_onward(found, dense, GRAPH)
    add_product(expected, sparse.csr_matrix(dense), GRAPH)
    assert np.array_equal(found, expected)
    assert found == pytest.approx(dense @ GRAPH.toarray())


def test_what_is_not_reached_comes_last_in_the_order_given():
    weights = np.array([[0, 0.5, 1e-6, 3], [0, 0, 0, 0], [7, 8, 9, 6]], np.float32)
    order = np.array([0, 0.25, 0.5, 0.75], np.float32)
    lowest = fill_unreached(weights, order, np.float32(1e-5))
    assert lowest.tolist() == [0.5, 1, 1]  # 1 at most
    assert weights.tolist() == [[0, 0.5, 0.5 * 0.5, 3], [0, 0.25, 0.5, 0.75], [7, 8, 9, 6]]
