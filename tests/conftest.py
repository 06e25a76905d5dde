"""What several folders of tests share: tiny sequences that can be checked by hand."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slmrec.data.sequences import Sequences

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; the test is skipped, visibly, where there is none."""
    folder = Path(os.environ.get("SLMREC_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SLMREC_DATA to its folder")
    return folder


def leave_two_out(histories: list[list[int]]) -> Sequences:
    """Sequences whose last two items a user are validation and test; time is the position."""
    lengths = [len(history) for history in histories]
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    items = np.concatenate([np.asarray(h, dtype=np.int32) for h in histories])
    return Sequences(
        offsets=offsets,
        items=items,
        timestamps=np.arange(len(items), dtype=np.int64),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=int(items.max()),
    )


@pytest.fixture
def make_sequences() -> Callable[[list[list[int]]], Sequences]:
    """`leave_two_out`, for tests that make their own histories."""
    return leave_two_out


@pytest.fixture
def cycles() -> Sequences:
    """Sixty users who walk the circle 1 → 2 → … → 12 → 1, each from another place: wholly learnable."""
    return leave_two_out([[(user + step) % 12 + 1 for step in range(9)] for user in range(60)])
