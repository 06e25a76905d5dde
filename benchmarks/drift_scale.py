"""Drift monitoring of windows with a million users and ten million interactions: seconds and memory.

    .venv/bin/python benchmarks/drift_scale.py [--users N] [--interactions N] [--items N] [--windows N]

A log without drift is made up, a student with random weights is asked about its people, and all
statistics are computed as `monitor_drift` does, without files. Run it with nothing else on the machine.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from batch_scoring import build, catalogue

from pipeline.paths import ROOT
from slmrec.config import MonitorDrift
from slmrec.data.sequences import Sequences
from slmrec.drift.monitor import monitor
from slmrec.drift.serving import Serving
from slmrec.drift.thresholds import DriftThresholds
from slmrec.models.item_map import TranslatedServable
from slmrec.policy import load_policy
from slmrec.progress import LogLines

DAY = 86_400


def main() -> None:
    """Make the log, monitor it, print what it took as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--users", type=int, default=1_000_000, help="of a window")
    arguments.add_argument("--interactions", type=int, default=10_000_000, help="of a window")
    arguments.add_argument("--items", type=int, default=100_000)
    arguments.add_argument("--windows", type=int, default=4)
    asked = arguments.parse_args()
    log = made_up(asked.users, asked.interactions, asked.items, asked.windows)
    with tempfile.TemporaryDirectory() as folder:
        model = TranslatedServable(
            build(asked.items, "int8", Path(folder)), catalogue(asked.items), "production"
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        report = monitor(
            log,
            MonitorDrift(window_share=1 / asked.windows),
            load_policy(ROOT / "validation" / "drift.yaml", DriftThresholds),
            None,
            LogLines("drift"),
            serving=Serving(model, 1, 0),
        )
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    newest = report.comparisons[0].current
    told = {
        "users": newest.user_count,
        "interactions": len(newest.items),
        "comparisons": len(report.comparisons),
        "verdict": report.verdict,
        "seconds": round(seconds, 1),
        "peak_rss_mb": round(peak),
        "before_the_first_statistic_mb": round(before),
    }
    print(json.dumps(told, indent=1))


def made_up(users: int, interactions: int, items: int, windows: int) -> Sequences:
    """People who are there in one window each; Zipf items; nothing changes."""
    rng = np.random.default_rng(0)
    people = users * windows
    total = interactions * windows
    lengths = 1 + rng.multinomial(total - people, np.full(people, 1 / people)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    span = 30 * DAY
    window = rng.integers(0, windows, people)
    starts = window * span + rng.integers(0, span, people)
    times = np.repeat(starts, lengths)
    times += (np.arange(total) - np.repeat(offsets[:-1], lengths)) * 60
    popularity = 1 / np.arange(1, items + 1) ** 0.8
    cumulated = np.cumsum(popularity / popularity.sum())
    chosen = np.empty(total, dtype=np.int32)
    for start in range(0, total, 5_000_000):
        end = min(start + 5_000_000, total)
        chosen[start:end] = 1 + np.searchsorted(cumulated, rng.random(end - start))
    np.minimum(chosen, items, out=chosen)
    return Sequences(
        offsets=offsets,
        items=chosen,
        timestamps=times,
        train_end=offsets[1:],
        validation_end=offsets[1:],
        item_count=items,
    )


if __name__ == "__main__":
    main()
