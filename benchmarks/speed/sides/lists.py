"""Make the ten best items for everybody, then for one person after the other.

    python -m benchmarks.speed.sides.lists FOLDER MODEL [--threads N]

FOLDER is what `prepare --models` made, MODEL one of its models: `teacher`, `student` or a variant.
Histories are what stands before each user's validation item, and what is in them is not listed.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.turns import peak_megabytes
from slmrec.data.sequences import load_sequences
from slmrec.evaluation.ranking import answer, histories_before
from slmrec.models.loading import load_scorer

BATCH = 4096
"""Histories in one call, as a job asks that lists for everybody."""
SINGLE = 500
"""Requests for one person that are timed."""
WARM_UP = 20


def main() -> None:
    """Answer everybody, and tell how long that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    sequences = load_sequences(str(asked.folder / "sequences"))
    histories = histories_before(sequences, *sequences.targets("validation"))
    scorer = load_scorer(asked.folder / asked.model, asked.threads)

    def timed(histories: list[np.ndarray]) -> float:
        started = time.perf_counter()
        answer(scorer, histories, exclude_seen=True)
        return time.perf_counter() - started

    spread = np.linspace(0, len(histories) - 1, SINGLE + WARM_UP).astype(int)
    single = [timed([histories[place]]) for place in spread][WARM_UP:]
    timed(histories[:BATCH])
    whole = sum(timed(histories[low : low + BATCH]) for low in range(0, len(histories), BATCH))
    told = {
        "users": len(histories),
        "list_seconds": whole,
        "batch1_p50_ms": 1000 * float(np.quantile(single, 0.5)),
        "batch1_p95_ms": 1000 * float(np.quantile(single, 0.95)),
        "peak_rss_mb": peak_megabytes(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
