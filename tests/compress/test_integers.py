import numpy as np
import pytest

from slmrec.compress.integers import quantize, quantize_roots, quantize_to_nibbles


def test_the_largest_of_each_row_or_column_becomes_127() -> None:
    weights = np.array([[1.0, -2.0], [0.5, 0.25], [0.0, 0.0]], np.float32)
    by_row = quantize(weights, axis=0)
    # 1 / (2 / 127) = 63.5 rounds to the even 64, .25 / (.5 / 127) = 63.5 too
    assert by_row.values.tolist() == [[64, -127], [127, 64], [0, 0]]
    assert by_row.scale.tolist() == pytest.approx([2 / 127, 0.5 / 127, 1.0])
    by_column = quantize(weights, axis=1)
    assert by_column.values.tolist() == [[127, -127], [64, 16], [0, 0]]
    assert by_column.scale.tolist() == pytest.approx([1 / 127, 2 / 127])


def test_nibbles_have_a_scale_for_each_32_neighbours_and_the_earlier_one_is_the_lower_half() -> (
    None
):
    weights = np.zeros((1, 40), np.float32)
    weights[0, :3] = [7.0, -3.0, 1.4]
    weights[0, 32:34] = [0.7, -0.7]
    found = quantize_to_nibbles(weights)
    assert found.packed.shape == (1, 2, 16)
    assert found.scale.tolist() == [[1.0, pytest.approx(0.1)]]
    # 7 + 8 = 15 below, -3 + 8 = 5 above; 1.4 is one step, so 9 beside a zero, which is 8
    assert found.packed[0, 0, :2].tolist() == [15 + 16 * 5, 9 + 16 * 8]
    assert found.packed[0, 1, 0] == 15 + 16 * 1
    values = found.values()
    assert values.shape == (1, 64)  # the last block is filled
    np.testing.assert_allclose(
        values[0, [0, 1, 2, 32, 33, 40]], [7, -3, 1, 0.7, -0.7, 0], rtol=1e-6
    )


def test_roots_keep_digits_of_weak_weights() -> None:
    weights = np.array([[4.0, 0.0441, 0.0], [0.0, 0.0, 0.0]], np.float32)
    found = quantize_roots(weights)
    # steps of 2 / 255: the root .21 is 26.8 of them
    assert found.bytes.tolist() == [[255, 27, 0], [0, 0, 0]]
    np.testing.assert_allclose(found.values()[0], [4.0, (27 * 2 / 255) ** 2, 0.0], rtol=1e-6)
