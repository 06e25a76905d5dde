"""Case 1, the rest: seconds of training until NDCG@10 on validation is near a peer's best."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.speed import machine
from benchmarks.speed.measured import Figure, Measured, Ratio, Spread
from benchmarks.speed.options import Options
from benchmarks.speed.peers import BEST, TUNED, peer
from benchmarks.speed.training import peer_versions
from benchmarks.speed.turns import Found, ours, run
from slmrec.config import Training
from slmrec.data.sequences import Sequences, load_sequences
from slmrec.training.validation import validation_sample

NAME = "quality"
TITLE = "Time to quality"
NEAR = 0.98
"""Of a peer's best: at its very best a curve is flat, and when it is reached is chance."""
ASKED = 5.0
OURS = '{"learning_rate": 4e-3, "embedding_dropout": 0.4, "dropout": 0.2}'
OUR_EPOCHS, PEER_EPOCHS = 16, 24
Curve = list[tuple[float, float]]
"""Seconds of training, NDCG@10."""


def measure(options: Options) -> Measured:
    """Train each side once in its best settings, the peers with the allocator tuned."""
    options.prepare(models=False)
    sequences = load_sequences(str(options.folder / "sequences"))
    arguments = ("--epochs", f"{OUR_EPOCHS}", "--threads", f"{options.threads}")
    timed = run(ours("timed", "epochs", str(options.folder), "sasrec", *arguments, "--set", OURS))
    scored = ("--score-every", "1", "--set", OURS)
    mine = run(ours("scored", "epochs", str(options.folder), "sasrec", *arguments, *scored))
    epoch = float(np.median(timed["epoch_seconds"]))
    curves: dict[str, Curve] = {
        "slmrec": [(number * epoch, ndcg) for number, ndcg in mine["ndcg@10"]]
    }
    found: dict[str, list[Found]] = {}
    sides = []
    for name in options.peers:
        more = f"--score-every 2 {BEST[name]}"
        side = peer(name, options, epochs=PEER_EPOCHS, tuned=True, more=more)
        sides.append(side)
        found[side.name] = [run(side)]
        lists = Path(side.command[side.command.index("--lists") + 1])
        curves[side.name] = curve_of_lists(found[side.name][0], lists, sequences)
    figures = [
        Figure(name, words, unit, Spread.of([value]))
        for name, curve in curves.items()
        for words, unit, value in (
            ("best NDCG@10", "", max(ndcg for _, ndcg in curve)),
            ("reached after", "s", max(curve, key=lambda point: point[1])[0]),
        )
    ]
    ratios = []
    for name, curve in curves.items():
        if name != "slmrec":
            wanted = NEAR * max(ndcg for _, ndcg in curve)
            its, own = seconds_to(curve, wanted), seconds_to(curves["slmrec"], wanted)
            ratios.append(
                Ratio(
                    f"{name} over slmrec, seconds to {NEAR:.0%} of its best",
                    Spread.of([its / own]),
                    ASKED,
                )
            )
    return Measured(
        NAME,
        TITLE,
        {
            **options.told(),
            "turns": 1,
            "slmrec": OURS,
            **{name: BEST[name] for name in options.peers},
        },
        machine.describe(),
        machine.versions("torch", "numpy") | peer_versions(found, sides),
        figures,
        ratios,
        curves,
        (
            "SASRec of two layers of width 64 on all sides; NDCG@10 of the validation items of the "
            "same users, at most 2,000, over the whole catalogue, seen items left out. Seconds are of "
            "training alone.",
            f"A ratio is to {NEAR:.0%} of the peer's best. Peers run with the allocator {TUNED}.",
        ),
    )


def seconds_to(curve: Curve, wanted: float) -> float:
    """Of training, until the quality is reached; never counts as a thousand times the whole curve."""
    return next((seconds for seconds, ndcg in curve if ndcg >= wanted), 1000 * curve[-1][0])


def curve_of_lists(found: Found, path: Path, sequences: Sequences) -> Curve:
    """NDCG@10 of the lists after each epoch that has some, of users whom our training validates on.

    An epoch counts its median, as ours do: the first one warms up.
    """
    first, *later = found["epoch_seconds"]
    epoch_seconds = float(np.median(later or [first]))
    users, places = validation_sample(sequences, np.random.default_rng(Training().seed))
    wanted = pl.DataFrame({"user": users, "item": sequences.items[places].astype(np.int64)})
    hits = pl.read_parquet(path).join(wanted, on=["user", "item"])
    gains = hits.with_columns(gain=1 / (pl.col("rank") + 1).log(2))
    sums = dict(gains.group_by("epoch").agg(pl.col("gain").sum()).iter_rows())
    return [
        (one["epoch"] * epoch_seconds, sums.get(int(one["epoch"]), 0.0) / len(users))
        for one in _in_order(found["scored"])
    ]


def _in_order(scored: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    return sorted(scored, key=lambda one: one["epoch"])
