import numpy as np

from slmrec.compress.product import encode


def test_few_different_pieces_are_kept_exactly() -> None:
    rows = np.array([[1, 0, 5, 5], [1, 0, -5, 5], [0, 1, 5, 5], [1, 0, 5, 5]], np.float32)
    found = encode(rows, parts=2, seed=0)
    assert found.codes.shape == (4, 2)
    np.testing.assert_array_equal(found.rows(), rows)
    assert (found.codes[0] == found.codes[3]).all()


def test_more_bytes_an_item_are_nearer() -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    errors = []
    for parts in (2, 4, 8, 16):
        found = encode(rows, parts, seed=0)
        assert found.codes.dtype == np.uint8
        assert found.codes.shape == (2000, parts)
        errors.append(float(((found.rows() - rows) ** 2).mean()))
    assert errors == sorted(errors, reverse=True)
    # 256 points for one normal number: its variance falls to some 1.5 / 256² of what it was,
    # and by much more than a hundredth with any sensible choice of points
    assert errors[-1] < 0.001


def test_the_same_seed_gives_the_same_codes() -> None:
    rows = np.random.default_rng(1).normal(size=(600, 8)).astype(np.float32)
    one, other = encode(rows, 4, seed=3), encode(rows, 4, seed=3)
    np.testing.assert_array_equal(one.codes, other.codes)
    np.testing.assert_array_equal(one.pieces, other.pieces)
