from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slmrec.data.sequences import Sequences
from slmrec.training.batches import batch_count, pack, packed_batches, training_windows

Make = Callable[[list[list[int]]], Sequences]


def test_windows_cut_training_histories_from_the_end(make_sequences: Make) -> None:
    # seven training items, so six positions have a next one: windows of 2 and 4
    sequences = make_sequences([[1, 2, 3, 4, 5, 6, 7, 8, 9]])
    windows = training_windows(sequences, max_length=4)
    assert windows.start.tolist() == [0, 2]
    assert windows.length.tolist() == [2, 4]


def test_user_gives_no_window_when_only_one_item_is_training(make_sequences: Make) -> None:
    sequences = make_sequences([[1, 2, 3], [4, 5, 6, 7]])
    windows = training_windows(sequences, max_length=4)
    assert windows.user.tolist() == [1]
    assert windows.start.tolist() == [3]
    assert windows.length.tolist() == [1]


def test_targets_are_the_next_training_items_and_never_held_out_ones(make_sequences: Make) -> None:
    histories = [[1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12], [13, 14, 15]]
    sequences = make_sequences(histories)
    windows = training_windows(sequences, max_length=3)
    packing = pack(windows.length, 3, np.random.default_rng(0))
    seen = set()
    for batch in packed_batches(sequences, windows, packing, batch_tokens=6):
        real = batch.targets > 0
        seen |= set(zip(batch.items[real].tolist(), batch.targets[real].tolist(), strict=True))
        assert (batch.source[~real] == -1).all()
        assert (batch.items[~real] == 0).all()
    assert seen == {(1, 2), (2, 3), (3, 4), (4, 5), (8, 9), (9, 10)}


@given(
    lengths=st.lists(st.integers(1, 10), min_size=1, max_size=60),
    seed=st.integers(0, 5),
)
def test_packing_places_every_window_once_without_overlap(lengths: list[int], seed: int) -> None:
    array = np.asarray(lengths, dtype=np.int64)
    packing = pack(array, 10, np.random.default_rng(seed))
    cells = np.zeros((packing.rows, 10), dtype=int)
    for window, row, offset in zip(packing.window, packing.row, packing.offset, strict=True):
        assert offset + array[window] <= 10
        cells[row, offset : offset + array[window]] += 1
    assert sorted(packing.window.tolist()) == list(range(len(lengths)))
    assert cells.max() == 1
    assert (cells.sum(axis=1) > 0).all()


def test_rows_are_almost_full_when_histories_are_short() -> None:
    rng = np.random.default_rng(3)
    lengths = np.minimum(rng.geometric(1 / 8, size=5000), 50).astype(np.int64)
    assert pack(lengths, 50, rng).filled(lengths) >= 0.95


def test_batches_hold_every_row_when_rows_do_not_fill_the_last(cycles: Sequences) -> None:
    windows = training_windows(cycles, max_length=8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    batches = list(packed_batches(cycles, windows, packing, batch_tokens=8 * 7))
    assert len(batches) == batch_count(packing, 8 * 7)
    assert sum(batch.items.shape[0] for batch in batches) == packing.rows
    assert sum(int((batch.targets > 0).sum()) for batch in batches) == windows.targets == 60 * 6
