import subprocess
import sys

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
