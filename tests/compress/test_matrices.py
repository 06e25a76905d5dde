import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from slmrec.compress.matrices import ByteMatrix, FloatMatrix, NibbleMatrix
from tests.compress.graphs import run, types

WEIGHTS = np.array([[1.0, 8.0], [-0.5, 4.0]], np.float32)
STATES = np.array([[2.0, 0.0], [0.0, 3.0]], np.float32)


def test_floats_are_kept_as_they_are() -> None:
    found, _ = run(lambda graph: FloatMatrix(WEIGHTS).times(graph, "x"), STATES)
    np.testing.assert_allclose(found, STATES @ WEIGHTS)


def test_bfloat16_keeps_eight_binary_digits() -> None:
    weights = np.array([[1 + 2**-9], [1 + 2**-7]], np.float32)
    matrix = FloatMatrix(weights, ml_dtypes.bfloat16)
    found, model = run(lambda graph: matrix.times(graph, "x"), STATES)
    assert TensorProto.BFLOAT16 in types(model)
    assert found.tolist() == [[2.0], [3 * (1 + 2**-7)]]


def test_states_become_bytes_of_their_own_largest_entry() -> None:
    matrix = ByteMatrix(WEIGHTS, reach=None)
    found, model = run(lambda graph: matrix.times(graph, "x"), STATES)
    assert TensorProto.INT8 in types(model)
    # one entry a state is exact, so what is left is the rounding of the weights: 64 of 127 for a half
    expected = [[2.0, 16.0], [3 * -64 / 127, 3 * 8 * 64 / 127]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_states_become_bytes_in_fixed_steps_and_are_cut_beyond_their_reach() -> None:
    one = np.ones((1, 1), np.float32)
    states = np.array([[12.7], [0.06], [-3.0], [40.0], [-40.0]], np.float32)
    found, _ = run(lambda graph: ByteMatrix(one, reach=12.7).times(graph, "x"), states)
    # steps of .1; a byte holds 127 of them upwards and 128 downwards
    np.testing.assert_allclose(found[:, 0], [12.7, 0.1, -3.0, 12.7, -12.8], rtol=1e-5)


@pytest.mark.parametrize("reach", [None, 5.0])
def test_a_state_is_rounded_without_regard_to_its_batch(reach: float | None) -> None:
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(8, 5)).astype(np.float32)
    states = (
        generator.normal(size=(6, 8)).astype(np.float32) * np.float32(10) ** np.arange(6)[:, None]
    )
    matrix = ByteMatrix(weights, reach)
    together, _ = run(lambda graph: matrix.times(graph, "x"), states.astype(np.float32))
    for state, expected in zip(states, together, strict=True):
        alone, _ = run(lambda graph: matrix.times(graph, "x"), state[None].astype(np.float32))
        np.testing.assert_allclose(alone[0], expected, rtol=1e-6)


def test_nibbles_multiply_what_they_stand_for() -> None:
    generator = np.random.default_rng(1)
    whole = generator.integers(-7, 8, size=(64, 3)).astype(np.float32)
    whole[::32] = 7  # so that a step is 1 and nothing is lost
    states = np.zeros((2, 64), np.float32)
    states[0, 5], states[1, 40] = 1.0, -2.0  # one entry a block is exact
    found, model = run(lambda graph: NibbleMatrix(whole).times(graph, "x"), states)
    np.testing.assert_allclose(found, states @ whole, rtol=1e-5)
    assert TensorProto.INT8 not in types(model)
