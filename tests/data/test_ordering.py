import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmrec.data.ordering import (
    chunks,
    chunks_of_groups,
    refined,
    scrambled,
    stable_order,
    starts_of_runs,
)

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=0, max_size=60)


# Small keys share a word with the position, larger ones share a word, the largest do not.
@pytest.mark.parametrize("scale", [1, 2**28, 2**40])
@given(pairs=PAIRS)
def test_the_order_is_pythons_when_keys_are_of_any_size(scale, pairs):
    keys = [np.array([pair[i] * scale for pair in pairs], np.int64) for i in range(2)]
    expected = sorted(range(len(pairs)), key=lambda row: pairs[row])
    assert stable_order(keys).tolist() == expected


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=60))
def test_ties_are_refined_key_by_key_when_rows_are_equal(rows):
    first, second, third = (np.array(column) for column in zip(*rows, strict=True))
    order = stable_order([first])
    found = refined(order, starts_of_runs(first[order]), [second, third])
    assert [rows[row] for row in found] == sorted(rows)


def test_rows_come_in_pieces_when_there_are_many():
    assert list(chunks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(chunks(0, 3)) == []


def test_groups_stay_whole_when_cut_into_pieces():
    # Groups of 2, 2, 9, 1 and 0 rows, about four rows a piece; the large one comes alone.
    offsets = np.array([0, 2, 4, 13, 14, 14])
    assert list(chunks_of_groups(offsets, 4)) == [(0, 2), (2, 3), (3, 5)]


def test_bits_are_those_of_splitmix_when_scrambled():
    # The first output of the public splitmix64 with seed 0 is the finaliser of its increment.
    assert scrambled(np.array([0x9E3779B97F4A7C15], np.uint64)).tolist() == [0xE220A8397B1DCDAF]
