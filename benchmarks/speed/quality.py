"""Case 1, the rest: seconds of training until NDCG@10 on validation is near a peer's best."""

import json
from collections.abc import Mapping, Sequence
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
NEVER = float("inf")
ASKED = 5.0
OURS = {"learning_rate": 4e-3, "embedding_dropout": 0.4, "dropout": 0.2}
OUR_EPOCHS, TIMED_EPOCHS = 12, 4
MOST_EPOCHS = 1000
"""Of a peer: its patience ends first."""
PATIENCE = 8.0
"""A peer is stopped after so many times the seconds that we need: past what is asked."""
Curve = list[tuple[float, float]]
"""Seconds of training, NDCG@10."""


def measure(options: Options) -> Measured:
    """Train each side in its best settings, the peers with the allocator tuned; each turn has its seed.

    A peer that is not near the best of them when its patience ends is not run again.
    """
    options.prepare(models=False)
    sequences = load_sequences(str(options.folder / "sequences"))
    racing = list(options.peers)
    turns: list[dict[str, Curve]] = []
    versions: dict[str, str] = {}
    for turn in range(options.turns):
        before = f"turn {turn + 1} of {options.turns}: "
        mine = our_curve(options, turn, before)
        patience = PATIENCE * seconds_to(mine, NEAR * best(mine))
        theirs: dict[str, Curve] = {}
        for name in racing:
            more = f"--score-every 1 --seconds {patience:.0f} --seed {turn} {BEST[name]}"
            side = peer(name, options, epochs=MOST_EPOCHS, tuned=True, more=more)
            found = run(side, before)
            lists = Path(side.command[side.command.index("--lists") + 1])
            theirs[name] = curve_of_lists(found, lists, sequences, our_seed(turn))
            versions |= peer_versions({side.name: [found]}, [side])
        turns.append({"slmrec": mine, **theirs})
        racing = [name for name in racing if seconds_to(theirs[name], goal(theirs)) < NEVER]
    return Measured(
        NAME,
        TITLE,
        {**options.told(), "slmrec": OURS, **{name: BEST[name] for name in options.peers}},
        machine.describe(),
        machine.versions("torch", "numpy") | versions,
        figures_of(turns),
        ratios_of(turns),
        turns[0],
        (
            "SASRec of two layers of width 64 on all sides; NDCG@10 of the validation items of the "
            "same users, at most 2,000, over the whole catalogue, seen items left out. Seconds are of "
            "training alone. Each turn has another seed; the plot is of the first.",
            f"Peers run with the allocator {TUNED}, each for {PATIENCE:g} times the seconds that we "
            f"need to {NEAR:.0%} of our best; one that is then not at {NEAR:.0%} of the best of any "
            "peer is not run again. What is said of one that was still rising is of what it had "
            "reached by then: it would have come further, and later.",
        ),
    )


def our_curve(options: Options, turn: int, before: str) -> Curve:
    """NDCG@10 after each epoch, and seconds of epochs that nothing was scored between."""
    settings = json.dumps({**OURS, "seed": our_seed(turn)})
    threads = ("--threads", f"{options.threads}", "--set", settings)

    def trained(name: str, *arguments: str) -> Found:
        folder = str(options.folder)
        return run(
            ours(f"slmrec, {name}", "epochs", folder, "sasrec", *arguments, *threads), before
        )

    timed = trained("timed", "--epochs", f"{TIMED_EPOCHS}")
    scored = trained("scored", "--epochs", f"{OUR_EPOCHS}", "--score-every", "1")
    epoch = float(np.median(timed["epoch_seconds"]))
    return [(number * epoch, ndcg) for number, ndcg in scored["ndcg@10"]]


def our_seed(turn: int) -> int:
    """Of a turn; it also chooses the users whom all sides are validated on."""
    return Training().seed + turn


def figures_of(turns: Sequence[Mapping[str, Curve]]) -> list[Figure]:
    """Of each side its best and when it came."""
    figures = []
    for name in turns[0]:
        ran = _all(turns, name)
        peaks = [max(curve, key=lambda point: point[1]) for curve in ran]
        figures += [
            Figure(name, "best NDCG@10", "", Spread.of(ndcg for _, ndcg in peaks)),
            Figure(name, "reached after", "s", Spread.of(seconds for seconds, _ in peaks)),
            Figure(name, "trained for", "s", Spread.of(curve[-1][0] for curve in ran)),
        ]
    return figures


def ratios_of(turns: Sequence[Mapping[str, Curve]]) -> list[Ratio]:
    """Of each peer to near its own best, and of whichever peer is first near the best of them all."""
    apart: dict[str, list[float]] = {}
    first: list[float] = []
    for curves in turns:
        mine = curves["slmrec"]
        theirs = {name: curve for name, curve in curves.items() if name != "slmrec"}
        for name, curve in theirs.items():
            wanted = NEAR * best(curve)
            its, own = seconds_to(curve, wanted), seconds_to(mine, wanted)
            apart.setdefault(name, []).append(its / own)
        if theirs:
            wanted = goal(theirs)
            its = min(seconds_to(curve, wanted) for curve in theirs.values())
            first.append(its / seconds_to(mine, wanted))
    found = []
    for name, values in apart.items():
        rising = any(curve[-1][1] == best(curve) for curve in _all(turns, name))
        words = f"{name} over slmrec, seconds to {NEAR:.0%} of its best"
        words += ", still rising when stopped" if rising else ""
        found.append(Ratio(words, Spread.of(values)))
    words = f"first peer over slmrec, seconds to {NEAR:.0%} of the best of any peer"
    return [*found, *([Ratio(words, Spread.of(first), ASKED)] if first else [])]


def _all(turns: Sequence[Mapping[str, Curve]], name: str) -> list[Curve]:
    return [curves[name] for curves in turns if name in curves]


def best(curve: Curve) -> float:
    """NDCG@10 at most."""
    return max(ndcg for _, ndcg in curve)


def goal(theirs: Mapping[str, Curve]) -> float:
    """NDCG@10 that is given to all sides: near the best of any peer."""
    return NEAR * max(map(best, theirs.values()))


def seconds_to(curve: Curve, wanted: float) -> float:
    """Of training, until the quality is reached."""
    return next((seconds for seconds, ndcg in curve if ndcg >= wanted), NEVER)


def curve_of_lists(found: Found, path: Path, sequences: Sequences, seed: int) -> Curve:
    """NDCG@10 of the lists after each epoch that has some, of users whom that seed validates on.

    An epoch counts its median, as ours do: the first one warms up.
    """
    first, *later = found["epoch_seconds"]
    epoch_seconds = float(np.median(later or [first]))
    users, places = validation_sample(sequences, np.random.default_rng(seed))
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
