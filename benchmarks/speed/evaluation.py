"""Case 4: full ranking with intervals beside RecTools; a million users evaluated and monitored."""

import sys

from benchmarks.speed import machine
from benchmarks.speed.measured import Figure, Measured, Ratio, Spread
from benchmarks.speed.options import Options
from benchmarks.speed.peers import python
from benchmarks.speed.turns import Found, Side, run

NAME = "evaluation"
TITLE = "Evaluation and drift"
USERS, ITEMS = 100_000, 20_000
WORDS = {
    "whole": "scores, lists and metrics",
    "metrics": "metrics of given lists",
    "uncut_a_user": "with uncut MRR, a user",
}


def measure(options: Options) -> Measured:
    """Beside RecTools in turns where it is installed; at a million users on demand."""
    figures: list[Figure] = []
    ratios: list[Ratio] = []
    if "RecTools" in options.peers:
        beside_rectools(options, figures, ratios)
    if options.large:
        at_scale(figures)
    return Measured(
        NAME,
        TITLE,
        {
            "turns": options.turns,
            "threads": options.threads,
            "large": options.large,
            "users": USERS,
            "items": ITEMS,
        },
        machine.describe(),
        machine.versions("numpy", "numba", "torch"),
        figures,
        ratios,
        notes=(
            "Beside RecTools both sides rank made-up users by the same embeddings of 64 numbers.",
            "A million users are evaluated with three models over 100,000 items, with 10,000 bootstrap "
            "resamples; drift is of windows with a million users and ten million interactions each.",
        ),
    )


def beside_rectools(options: Options, figures: list[Figure], ratios: list[Ratio]) -> None:
    """What `benchmarks/evaluation.py peer` measures in turns of its own."""
    sizes = (f"--users={USERS}", f"--items={ITEMS}")
    found = script(
        "evaluation.py",
        "peer",
        *sizes,
        f"--repeats={options.turns}",
        f"--threads={options.threads}",
        f"--python={python('RecTools')}",
    )
    runs = found["runs"]
    for key, words in WORDS.items():
        for side, mine in runs.items():
            figures.append(Figure(side, words, "s", Spread.of(one[key] for one in mine)))
        pairs = zip(runs["RecTools"], runs["slmrec"], strict=True)
        ratios.append(
            Ratio(f"RecTools over slmrec, {words}", Spread.of(t[key] / o[key] for t, o in pairs))
        )
    for side, gigabytes in found["peak_gb"].items():
        figures.append(Figure(side, "memory at most", "GB", Spread.of([gigabytes])))


def at_scale(figures: list[Figure]) -> None:
    """A million users, once: minutes each."""
    evaluated = script("evaluation.py", "scale")
    watched = script("drift_scale.py")
    for side, seconds, gigabytes in (
        (
            "evaluation of a million users",
            evaluated["seconds"]["together"],
            evaluated["peak_rss_gb"],
        ),
        ("drift of a million users", watched["seconds"], watched["peak_rss_mb"] / 1e3),
    ):
        figures.append(Figure(side, "once", "s", Spread.of([seconds])))
        figures.append(Figure(side, "memory at most", "GB", Spread.of([gigabytes])))


def script(name: str, *arguments: str) -> Found:
    """What a script of `benchmarks/` prints as JSON."""
    return run(Side(name, (sys.executable, f"benchmarks/{name}", *arguments)))
