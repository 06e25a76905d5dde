from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slmrec.columns import Interactions
from slmrec.config import Training
from slmrec.data.sample import Sample, sample_interactions
from slmrec.data.sequences import Int64, Sequences
from slmrec.training.batches import (
    SCORE_BYTES,
    batch_count,
    pack,
    packed_batches,
    row_capacity,
    scored_together,
    training_windows,
)
from slmrec.training.negatives import NegativeSampler

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


def windows_of(histories: Int64, longest: int = 50) -> Int64:
    """Lengths of the windows that histories of so many read items are cut into."""
    whole, rest = np.divmod(histories, longest)
    return np.concatenate([np.full(whole.sum(), longest), rest[rest > 0]]).astype(np.int64)


def sample_histories() -> Int64:
    log = next(sample_interactions(Sample(users=500, items=300, interactions=15_000)))
    return log[Interactions.USER].value_counts()["count"].to_numpy().astype(np.int64)


RNG = np.random.default_rng(3)
HISTORIES = {
    "the built-in sample": sample_histories(),
    "geometric, mean 6": RNG.geometric(1 / 6, 5000),
    "long ones, uniform": RNG.integers(20, 200, 2000),
    "long ones, skewed": np.exp(RNG.normal(np.log(100), 1, 2000)).astype(np.int64),
    "all of 30": np.full(2000, 30),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_at_most_one_token_of_twenty_is_padding(name: str) -> None:
    lengths = windows_of(HISTORIES[name])
    capacity = row_capacity(lengths, 50)
    assert pack(lengths, capacity, np.random.default_rng(0)).filled(lengths) >= 0.95


def test_rows_are_longer_only_when_windows_would_waste_a_short_one() -> None:
    assert row_capacity(windows_of(HISTORIES["geometric, mean 6"]), 50) == 50
    assert row_capacity(np.full(100, 30), 50) == 150  # 5 × 30; 1 × 30 of 50, 3 × 30 of 100
    # of 50, 100, 150, 200 tokens the windows fill 1, 3, 5 and 7 times 26
    assert row_capacity(np.full(210, 26), 50) == 200


def test_batches_hold_every_row_when_rows_do_not_fill_the_last(cycles: Sequences) -> None:
    windows = training_windows(cycles, max_length=8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    batches = list(packed_batches(cycles, windows, packing, batch_tokens=8 * 7))
    assert len(batches) == batch_count(packing, 8 * 7)
    assert sum(batch.items.shape[0] for batch in batches) == packing.rows
    assert sum(int((batch.targets > 0).sum()) for batch in batches) == windows.targets == 60 * 6


def test_rows_of_a_batch_keep_what_belongs_together(cycles: Sequences) -> None:
    windows = training_windows(cycles, max_length=8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    batch = next(iter(packed_batches(cycles, windows, packing, batch_tokens=8 * 7)))
    part = batch.rows(torch.tensor([5, 2]))
    assert part.source.tolist() == batch.source[[5, 2]].tolist()
    real = part.source >= 0
    assert torch.equal(part.items[real], torch.from_numpy(cycles.items)[part.source[real]].long())
    assert part.real_positions == int(real.sum())
    assert part.mean_weight == 1.0


def test_batch_leaves_for_another_device_without_its_source(
    cycles: Sequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # needs a GPU
    windows = training_windows(cycles, max_length=8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    batch = next(iter(packed_batches(cycles, windows, packing, batch_tokens=64)))
    elsewhere = torch.device("meta")
    sampler = NegativeSampler(cycles, Training(loss="gbce", negatives=3), elsewhere)
    drawn = sampler.draw(np.random.default_rng(0))
    moved = replace(batch, negatives=drawn).to(elsewhere)
    assert moved.negatives is not None
    for tensor in (moved.items, moved.positions, moved.segments, moved.targets, moved.weights):
        assert tensor.device == elsewhere
    assert moved.negatives.items.device == moved.negatives.log_q.device == elsewhere
    assert torch.equal(moved.source, batch.source)
    assert batch.to(torch.device("cpu")) is batch


def test_fewer_tokens_are_scored_together_when_the_catalogue_is_large() -> None:
    assert scored_together(1_000, 4096) == 4096
    half_a_million = scored_together(500_000, 4096)
    assert 1 <= half_a_million < 4096
    assert 4 * 500_001 * half_a_million <= SCORE_BYTES < 4 * 500_001 * (half_a_million + 1)
    assert scored_together(10**9, 4096) == 1
