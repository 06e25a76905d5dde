import numpy as np
import pytest
import torch

from slmrec.data.sequences import Sequences
from slmrec.errors import ConfigError
from slmrec.training.batches import Batch, pack, packed_batches, training_windows


@pytest.fixture
def batch(cycles: Sequences) -> Batch:
    windows = training_windows(cycles, 4)
    packing = pack(windows.length, 4, np.random.default_rng(0))
    return next(iter(packed_batches(cycles, windows, packing, 40)))


def test_reading_has_a_row_for_each_real_position_in_row_major_order(teacher, batch: Batch) -> None:
    said = teacher.read(batch, 2)
    real = batch.targets > 0
    assert said.states.shape == (int(real.sum()), 2, 8)
    assert said.scores.shape == (int(real.sum()), 13)
    assert (said.scores[:, 0] == -torch.inf).all()
    assert said.attention is None
    # the last row's last position, read alone
    row = int(real.nonzero()[-1, 0])
    own = batch.segments[row] == batch.segments[row][real[row]][-1]
    items = batch.items[row][own]
    with torch.inference_mode():
        alone = teacher.network(items[None], torch.arange(len(items))[None])[-1][0, -1]
    torch.testing.assert_close(said.states[-1, -1], alone, atol=1e-5, rtol=1e-5)


def test_attention_is_a_distribution_over_the_places_up_to_the_position(
    teacher, batch: Batch
) -> None:
    said = teacher.read(batch, 2, attention=True)
    real = batch.targets > 0
    assert said.attention.shape == (int(real.sum()), 2, 4)
    torch.testing.assert_close(said.attention.sum(dim=2), torch.ones(int(real.sum()), 2))
    place = batch.positions[real]
    later = torch.arange(4) > place[:, None]
    assert not said.attention.permute(0, 2, 1)[later].any()
    assert (said.attention.permute(0, 2, 1)[~later] > 0).all()


def test_blocks_are_refused_when_they_do_not_divide_the_layers(teacher, batch: Batch) -> None:
    with pytest.raises(ConfigError, match="blocks is 3 and does not divide the teacher's 4 layers"):
        teacher.read(batch, 3)
