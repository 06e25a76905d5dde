import numpy as np
import pytest

from slmrec.data.sequences import Sequences


@pytest.fixture
def sequences_of():
    """Make sequences whose users have some training items and then held-out ones."""
    return _sequences_of


def _sequences_of(train, held_out, item_count):
    """Sequences whose users have the given training items and then the held-out ones."""
    lengths = [len(a) + len(b) for a, b in zip(train, held_out, strict=True)]
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    items = [i for a, b in zip(train, held_out, strict=True) for i in (*a, *b)]
    train_end = offsets[:-1] + [len(a) for a in train]
    return Sequences(
        offsets=offsets,
        items=np.array(items, dtype=np.int32),
        timestamps=np.zeros(len(items), dtype=np.int64),
        train_end=train_end,
        validation_end=np.minimum(train_end + 1, offsets[1:]),
        item_count=item_count,
    )
