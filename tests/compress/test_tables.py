import numpy as np
import pytest
from onnx import TensorProto

from slmrec.compress.product import ProductCodes
from slmrec.compress.tables import ByteTable, FloatTable, ItemTable, NibbleTable
from tests.compress.graphs import run, types

EPSILON = 1e-6
ITEMS = np.array([[3, 1, 0, 3]])
NORM = np.linspace(0.5, 2.0, 32).astype(np.float32)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    made = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    made[0] = 0
    return made


@pytest.fixture(params=["float32", "dynamic", "static", "columns", "int4", "product"])
def kept(request: pytest.FixtureRequest, table: np.ndarray) -> ItemTable:
    column = np.ones(32, np.float32)
    match request.param:
        case "float32":
            return FloatTable(table)
        case "dynamic":
            return ByteTable.by_item(table, column, None)
        case "static":
            return ByteTable.by_item(table, column, 8.0)
        case "columns":
            return ByteTable.by_item(table, np.linspace(0.2, 3.0, 32).astype(np.float32), 16.0)
        case "int4":
            return NibbleTable(table)
    generator = np.random.default_rng(2)
    codes = ProductCodes(
        generator.integers(0, 20, size=(50, 8)).astype(np.uint8),
        generator.normal(size=(8, 20, 4)).astype(np.float32),
    )
    return ByteTable.by_codes(codes, np.linspace(0.1, 2.0, 50).astype(np.float32)).reaching(9.0)


def normed(states: np.ndarray) -> np.ndarray:
    return states / np.sqrt((states**2).mean(axis=-1, keepdims=True) + EPSILON) * NORM


def test_histories_look_up_what_the_table_stands_for(kept: ItemTable) -> None:
    found, _ = run(lambda graph: kept.rows(graph, "x"), ITEMS, rank=3)
    np.testing.assert_allclose(found, kept.dense()[ITEMS], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("biased", [False, True])
def test_scores_are_products_of_rounded_states_with_what_the_table_stands_for(
    kept: ItemTable, biased: bool
) -> None:
    states = np.random.default_rng(3).normal(size=(4, 32)).astype(np.float32) * 5
    bias = np.random.default_rng(4).normal(size=50).astype(np.float32)

    def write(graph):
        name = graph.constant("bias", bias) if biased else ""
        return kept.scores(graph, "x", NORM, EPSILON, name)

    found, _ = run(write, states)
    expected = kept.rounded(normed(states)) @ kept.dense().T + (bias if biased else 0)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_each_way_of_keeping_is_as_near_as_its_bytes_allow(table: np.ndarray) -> None:
    column = np.ones(32, np.float32)
    errors = [
        np.abs(kept.dense() - table).max()
        for kept in (
            FloatTable(table),
            ByteTable.by_item(table, column, None),
            NibbleTable(table),
        )
    ]
    assert errors[0] == 0
    # half a step: of 1/127 and of 1/7 of the largest entry, which is below 4 here
    assert 0 < errors[1] < 4 / 127 / 2
    assert errors[1] < errors[2] < 4 / 7 / 2


@pytest.mark.parametrize("reach", [None, 8.0])
def test_normed_embeddings_are_projected_from_their_bytes(
    table: np.ndarray, reach: float | None
) -> None:
    column = np.linspace(0.5, 2.0, 32).astype(np.float32)
    kept = ByteTable.by_item(table, column, reach)
    weights = np.random.default_rng(5).normal(size=(32, 6)).astype(np.float32)
    found, _ = run(lambda graph: kept.projected(graph, "x", NORM, EPSILON, weights), ITEMS, rank=3)
    expected = normed(kept.dense())[ITEMS] @ weights
    # only the weights are rounded: to half a step of 1/127 of a column's largest
    assert np.abs(found - expected).max() < 0.05 * expected.std()


def test_the_table_is_kept_once_for_both_uses(table: np.ndarray) -> None:
    kept = ByteTable.by_item(table, np.ones(32, np.float32), 8.0)

    def write(graph):
        looked_up = graph.call("ReduceSum", kept.rows(graph, "x"))
        states = graph.constant("states", np.ones((1, 32), np.float32))
        scores = kept.scores(graph, states, NORM, EPSILON, "")
        return graph.call("Add", scores, looked_up)

    _, model = run(write, ITEMS)
    sizes = [t for t in model.graph.initializer if list(t.dims) == [50, 32]]
    assert [t.data_type for t in sizes] == [TensorProto.INT8]


def test_product_codes_are_put_together_when_the_graph_is_loaded() -> None:
    codes = np.array([[0, 1], [1, 0], [1, 1]], np.uint8)
    pieces = np.array([[[0.0, 0.0], [127.0, -64.0]], [[1.0, 2.0], [-127.0, 5.0]]], np.float32)
    kept = ByteTable.by_codes(ProductCodes(codes, pieces), np.array([1, 2, 3], np.float32))
    expected = [[0, 0, -127, 5], [254, -128, 2, 4], [381, -192, -381, 15]]
    np.testing.assert_allclose(kept.dense(), expected)
    found, model = run(lambda graph: kept.rows(graph, "x"), np.array([2, 0]))
    np.testing.assert_allclose(found, np.asarray(expected)[[2, 0]])
    assert TensorProto.UINT8 in types(model)
    assert not [t for t in model.graph.initializer if list(t.dims) == [3, 4]]
