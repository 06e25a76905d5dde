import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slmrec.models.rank_rows import list_rows

RANKED = """
import numba.core.caching
numba.core.caching.CacheImpl._locator_classes = []  # as where no folder can be written to

import numpy as np
from slmrec.evaluation.ranking import rank_targets

scores = np.array([[0, 0.1, 0.4, 0.3]], dtype=np.float32)
print(rank_targets(scores, [np.empty(0, np.int32)], np.array([3]), exclude_seen=True).tolist())
"""


def test_rows_are_ranked_when_machine_code_can_be_kept_nowhere():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RANKED], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[2]\n"
    assert done.stderr == ""


def listed(scores: np.ndarray, left_out: list[list[int]], k: int) -> tuple[np.ndarray, np.ndarray]:
    rows = len(scores)
    items, best = np.zeros((rows, k), np.int64), np.zeros((rows, k), np.float32)
    starts = np.cumsum([0, *map(len, left_out)])
    flat = np.concatenate([np.zeros(0, np.int32), *left_out]).astype(np.int32)
    assert list_rows(scores.copy(), flat, starts, items, best) == -1
    return items, best


@given(
    st.integers(1, 400), st.integers(1, 9), st.integers(0, 12), st.integers(0, 30), st.integers(0)
)
def test_lists_are_those_of_a_full_sort_when_catalogues_and_ties_vary(
    items: int, values: int, k: int, leaving_out: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-values, values, (3, items + 1)).astype(np.float32)
    left_out = [rng.integers(1, items + 1, leaving_out).tolist() for _ in scores]
    found, best = listed(scores, left_out, k)
    for row, out in enumerate(left_out):
        left = sorted(set(range(1, items + 1)) - set(out), key=lambda i: (-scores[row, i], i))[:k]
        assert found[row].tolist() == left + [0] * (k - len(left))
        assert best[row, : len(left)].tolist() == scores[row, left].tolist()
        assert (best[row, len(left) :] == -np.inf).all()


def test_a_row_is_named_when_one_of_its_scores_is_nan():
    scores = np.zeros((3, 5), dtype=np.float32)
    scores[0, 0] = np.nan  # padding may be anything
    scores[1, 4] = np.nan
    items, best = np.zeros((3, 2), np.int64), np.zeros((3, 2), np.float32)
    nobody = np.zeros(4, dtype=np.int64)
    assert list_rows(scores, np.zeros(0, np.int32), nobody, items, best) == 1


def test_an_item_of_minus_infinity_is_none():
    scores = np.array([[0, -np.inf, 2, -np.inf]], dtype=np.float32)
    items, best = listed(scores, [[]], 3)
    assert items.tolist() == [[2, 0, 0]]
    assert best.tolist() == [[2, -np.inf, -np.inf]]
