"""Case 6: how cost grows with interactions, catalogue, length and layers; what a billion would take."""

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.speed import machine
from benchmarks.speed.measured import Figure, Measured, Spread
from benchmarks.speed.options import Options
from benchmarks.speed.turns import ours, take_turns

NAME = "scaling"
TITLE = "How cost grows"
BASE = {"interactions": 100_000, "items": 10_000, "length": 50, "layers": 2}
GROWN = {
    "interactions": (50_000, 100_000, 200_000, 400_000),
    "items": (2_500, 10_000, 40_000, 160_000),
    "length": (25, 50, 100, 200),
    "layers": (1, 2, 4, 8),
}
BILLION, CATALOGUE, NEGATIVES = 1_000_000_000, 10_000_000, 1024
STUDENT_WIDTH, STUDENT_FEED_FORWARD, EPOCHS = 128, 512, 3
CLUSTER = "8 nodes of 8 NVIDIA H100 (GCP a3-highgpu-8g), 64 GPUs"
GPUS, GPU_BFLOAT16_TFLOPS, GPU_SHARE = 64, 989.0, 0.1
"""The share is an assumption: such narrow layers leave most of a GPU idle."""
NODE_GIGABITS = 1000.0
"""A second, of a node's network, which is taken to be filled."""


def measure(options: Options) -> Measured:
    """Train an epoch at each size, all sizes in turns; fit a power of each quantity."""
    sides, sizes = [], {}
    for quantity, values in GROWN.items():
        for value in values:
            name = f"{quantity} {value:,}"
            arguments = {**BASE, quantity: value}
            words = [
                word for key, number in arguments.items() for word in (f"--{key}", f"{number}")
            ]
            sides.append(ours(name, "growth", *words, "--threads", f"{options.threads}"))
            sizes[name] = (quantity, value)
    found = take_turns(sides, options.turns)
    seconds = {name: Spread.of(run["seconds"] for run in runs) for name, runs in found.items()}
    figures = [Figure(name, "an epoch", "s", spread) for name, spread in seconds.items()]
    figures += [
        Figure(name, "memory at most", "MB", Spread.of(run["peak_rss_mb"] for run in runs))
        for name, runs in found.items()
    ]
    curves, notes = {}, []
    for quantity in GROWN:
        points = [
            (float(sizes[name][1]), spread.median)
            for name, spread in seconds.items()
            if sizes[name][0] == quantity
        ]
        curves[quantity] = points
        power, last = exponent(points), exponent(points[-2:])
        figures.append(Figure(quantity, "exponent of an epoch's seconds", "", Spread.of([power])))
        notes.append(
            f"Seconds grow with {quantity} to the power of {power:.2f}, over the last step {last:.2f}."
        )
    return Measured(
        NAME,
        TITLE,
        {"turns": options.turns, "threads": options.threads, "base": BASE, "width": 64},
        machine.describe(),
        machine.versions("torch", "numpy"),
        figures,
        [],
        curves,
        (*notes, *projection()),
    )


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope of the logarithms, by least squares."""
    x, y = np.log(np.asarray(points)).T
    return float(np.polyfit(x, y, 1)[0])


def projection() -> list[str]:
    """What a student would take on a log of a large shop, with all that is assumed."""
    layer = 4 * STUDENT_WIDTH**2 + 3 * STUDENT_WIDTH * STUDENT_FEED_FORWARD
    flop = BILLION * EPOCHS * 3 * 2 * (layer + (NEGATIVES + 1) * STUDENT_WIDTH)
    seconds = flop / (GPUS * GPU_BFLOAT16_TFLOPS * 1e12 * GPU_SHARE)
    table = CATALOGUE * STUDENT_WIDTH * 4
    exchanged = 2 * table * math.ceil(BILLION / (2048 * GPUS)) * EPOCHS
    waiting = exchanged / (NODE_GIGABITS * 1e9 / 8)
    return [
        f"A projection, not a measurement: a student of one layer of width {STUDENT_WIDTH} on "
        f"{BILLION:,} interactions and {CATALOGUE:,} items, {EPOCHS} epochs with `sampled_softmax` and "
        f"{NEGATIVES:,} negatives, is {flop:.1e} operations: {seconds:.1f} s of arithmetic "
        f"on {CLUSTER}, each at {GPU_SHARE:.0%} of {GPU_BFLOAT16_TFLOPS:,.0f} TFLOP/s.",
        f"What it would wait for is the item table: {table / 1e9:.1f} GB in float32, "
        "and three times that with AdamW's moments, which fits one GPU; its gradient, exchanged whole "
        f"at every step of 2,048 positions a GPU, would be {exchanged / 1e12:.0f} TB in and out of "
        f"each node: {waiting / 60:.0f} minutes at {NODE_GIGABITS:,.0f} Gbit/s. Such a catalogue needs "
        "larger batches and gradients of touched rows alone, which this project does not have.",
    ]
