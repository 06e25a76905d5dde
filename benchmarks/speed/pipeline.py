"""Case 5: the whole DAG cold, warm and with one changed stage, and what of it is no step's work."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import machine
from benchmarks.speed.measured import Figure, Measured, Ratio, Spread
from benchmarks.speed.options import Options
from benchmarks.speed.turns import pipeline, run

NAME = "pipeline"
TITLE = "The whole pipeline"
AT_ONCE = 2
"""Instances of a step that Kubeflow's local engine runs at a time."""
CHANGED = "distill_student.losses.cosine=0.5"
WARM_SECONDS, OVERHEAD = 10.0, 0.15


def measure(options: Options) -> Measured:
    """Run the built-in sample as `make run` does, again and again, then with another setting of a loss.

    The second run looks at drift by the model that the first one promoted; the third has nothing to do.
    """
    seconds: dict[str, list[float]] = {}
    overheads = []
    for _ in range(options.turns):
        with tempfile.TemporaryDirectory() as folder:
            home = str(Path(folder) / "home")
            cold = run(pipeline("cold", "run", "--json", "--home", home))
            asked = run(pipeline("after a promotion", "run", "--json", "--home", home))
            warm = run(pipeline("warm", "run", "--json", "--home", home))
            changed = run(
                pipeline(
                    "one changed stage",
                    "run",
                    "--json",
                    "--home",
                    home,
                    "--force",
                    "--set",
                    CHANGED,
                )
            )
        for name, found in (
            ("cold", cold),
            ("after a promotion", asked),
            ("warm", warm),
            ("one changed stage", changed),
        ):
            seconds.setdefault(name, []).append(found["wall_seconds"])
        overheads.append(1 - useful_seconds(cold["steps"]) / cold["wall_seconds"])
    steps = [
        Figure(f"step {step['name']}", "cold", "s", Spread.of([step["seconds"]]))
        for step in cold["steps"]
    ]
    figures = [
        Figure(name, "whole command", "s", Spread.of(runs)) for name, runs in seconds.items()
    ]
    figures.append(
        Figure("cold", "outside the steps' work", "%", Spread.of(100 * o for o in overheads))
    )
    ratios = [
        Ratio(
            f"{WARM_SECONDS:g} s over a warm run",
            Spread.of(WARM_SECONDS / s for s in seconds["warm"]),
            1.0,
        ),
        Ratio(
            f"{OVERHEAD:.0%} over what of a cold run is outside the steps' work",
            Spread.of(OVERHEAD / max(o, 1e-6) for o in overheads),
            1.0,
        ),
    ]
    return Measured(
        NAME,
        TITLE,
        {"turns": options.turns, "log": "the built-in sample", "changed": CHANGED},
        machine.describe(),
        machine.versions("kfp", "torch", "polars"),
        [*figures, *steps],
        ratios,
        notes=(
            "Outside the steps' work: starting processes, imports, Kubeflow's engine, digests. "
            f"Of instances of a step {AT_ONCE} run at a time, so half of their seconds count as work.",
        ),
    )


def useful_seconds(steps: Sequence[Mapping[str, Any]]) -> float:
    """Of steps one after the other, instances of one step side by side."""
    groups: dict[str, list[float]] = {}
    for step in steps:
        groups.setdefault(step["name"].partition("[")[0], []).append(step["seconds"])
    return sum(sum(group) / min(len(group), AT_ONCE) for group in groups.values())
