"""Case 2: how many people a second get their list, and how long one waits."""

from collections.abc import Mapping
from typing import Any

from benchmarks.speed import machine
from benchmarks.speed.measured import Figure, Measured, Ratio, Spread
from benchmarks.speed.options import Options
from benchmarks.speed.peers import BEST, TUNED, peer
from benchmarks.speed.training import peer_versions
from benchmarks.speed.turns import Found, ours, take_turns

NAME = "inference"
TITLE = "Lists for everybody"
OURS = ("teacher", "student", "float32", "int8", "pruned-int8")
FASTEST = "pruned-int8"
CATALOGUES, NUMBERS = (12_000, 100_000, 1_000_000), ("float32", "int8")
ASKED_TEACHER, ASKED_PEER = 8.0, 5.0


def measure(options: Options) -> Measured:
    """Ten items for every user of the log, by everybody in turns."""
    options.prepare(models=True)
    threads = ["--threads", str(options.threads)]
    own = [ours(name, "lists", str(options.folder), name, *threads) for name in OURS]
    peers = [peer(name, options, epochs=1, tuned=True, more=BEST[name]) for name in options.peers]
    # A peer trains before it answers, for longer than all else takes: one turn of it.
    found = take_turns(own, options.turns) | take_turns(peers, 1)
    rates = {name: [rate(run) for run in runs] for name, runs in found.items()}
    figures = [
        Figure(name, "users a second", "1/s", Spread.of(values)) for name, values in rates.items()
    ]
    for key, words in (
        ("batch1_p50_ms", "one request, p50"),
        ("batch1_p95_ms", "one request, p95"),
    ):
        figures += [
            Figure(name, words, "ms", Spread.of(run[key] for run in found[name])) for name in OURS
        ]
    figures += [
        Figure(name, "memory at most", "MB", Spread.of(run["peak_rss_mb"] for run in runs))
        for name, runs in found.items()
    ]
    limits = machine.describe()
    figures += large_catalogues(options, limits)
    fast = rates[FASTEST]
    ratios = [
        Ratio(
            f"{FASTEST} over teacher, users a second",
            Spread.of(mine / its for mine, its in zip(fast, rates["teacher"], strict=True)),
            ASKED_TEACHER,
        )
    ]
    if peers:
        best = max(rates[side.name][0] for side in peers)
        words = f"{FASTEST} over the fastest peer, users a second"
        ratios.append(Ratio(words, Spread.of(mine / best for mine in fast), ASKED_PEER))
    return Measured(
        NAME,
        TITLE,
        {**options.told(), **{name: BEST[name] for name in options.peers}},
        limits,
        machine.versions("torch", "onnxruntime", "numpy") | peer_versions(found, peers),
        figures,
        ratios,
        notes=(
            "The ten best of the whole catalogue, what a history holds left out. Our models have the "
            "sizes of `pipeline/configs/default.yaml`; the peers list by their own ways, with a SASRec "
            "of length 50, width 64 and two layers that has learned for one epoch in the settings that "
            f"suit them best, with the allocator {TUNED}.",
            "Catalogues of a size: the default student with its memory of transitions, weights by "
            "chance, histories of ten items. The share of the peak counts the product with the item "
            "table beside a square product in float32, whatever the weights are; the share of the "
            "bandwidth counts the table, read once for a request, beside a copy.",
        ),
    )


def large_catalogues(options: Options, limits: Mapping[str, Any]) -> list[Figure]:
    """Lists by the default student from catalogues of growing size."""
    folder = options.folder / "catalogues"
    sides = {
        (items, numbers): ours(
            f"{numbers}, {items:,} items",
            "catalogue",
            *(str(folder), "--items", f"{items}", "--weights", numbers),
            *("--threads", f"{options.threads}"),
        )
        for items in CATALOGUES
        for numbers in NUMBERS
    }
    found = take_turns(list(sides.values()), options.turns)
    figures = []
    for side in sides.values():
        runs = found[side.name]
        peak = [
            run["flop_per_user"] * run["users_per_second"] / 1e9 / limits["peak_gflops"]["float32"]
            for run in runs
        ]
        bandwidth = [
            run["table_bytes"] / run["batch1_p50_ms"] / 1e6 / limits["copy_gb_per_second"]
            for run in runs
        ]
        figures += [
            Figure(side.name, words, unit, Spread.of(values))
            for words, unit, values in (
                ("users a second", "1/s", [run["users_per_second"] for run in runs]),
                ("one request, p50", "ms", [run["batch1_p50_ms"] for run in runs]),
                ("one request, p95", "ms", [run["batch1_p95_ms"] for run in runs]),
                ("share of the peak", "", peak),
                ("share of the bandwidth, one request", "", bandwidth),
                ("memory at most", "MB", [run["peak_rss_mb"] for run in runs]),
            )
        ]
    return figures


def rate(run: Found) -> float:
    """Users a second."""
    if "scored" in run:
        return float(run["scored"][-1]["users_per_second"])
    return float(run["users"] / run["list_seconds"])
