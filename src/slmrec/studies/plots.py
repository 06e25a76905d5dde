"""The figure of each study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slmrec.figures import AMBER, BLUE, INK, RED, STYLE, save_svg
from slmrec.studies.quality import NDCG, Row

GRID = "#d9dee5"
GREY = "#909090"


def draw_depth(
    trained: Mapping[int, Row], cut: Mapping[int, Row], influences: Sequence[float], path: Path
) -> None:
    """NDCG@10 against depth on the left, Block Influence of each layer on the right."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        quality, influence = figure.subplots(1, 2, width_ratios=(3, 2))
        _with_intervals(quality, trained, "trained at that depth", BLUE, "o-")
        _with_intervals(quality, cut, f"first layers of {len(influences)}", AMBER, "s--")
        quality.set_xscale("log", base=2)
        quality.set_xticks(list(trained), [str(depth) for depth in trained])
        quality.minorticks_off()
        quality.set(title="NDCG@10, with 95 % interval", xlabel="layers")
        quality.set_ylim(bottom=0)
        quality.legend(frameon=False)
        layers = range(1, len(influences) + 1)
        influence.bar(layers, influences, color=BLUE)
        influence.set(title=f"Block Influence in {len(influences)} layers", xlabel="layer")
        influence.xaxis.get_major_locator().set_params(integer=True)
        for axes in (quality, influence):
            axes.grid(axis="y", color=GRID, linewidth=0.6)
            axes.set_axisbelow(True)
        save_svg(figure, path)


def draw_ablation(rows: Sequence[Row], against: str, path: Path) -> None:
    """NDCG@10 of each model less that of `against`, with its interval."""
    shown = [row for row in rows if against in row["versus"]]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.1 + 0.34 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        for line, row in enumerate(shown):
            found = row["versus"][against]
            low, high = found["ci95"]
            colour = BLUE if low > 0 else RED if high < 0 else GREY
            axes.plot([low, high], [line, line], color=colour, linewidth=2)
            axes.plot([found["difference"]], [line], "o", color=colour)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(shown)), [row["name"] for row in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set(title=f"NDCG@10 less that of {against}, with 95 % interval")
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        save_svg(figure, path)


def draw_models(rows: Sequence[Row], path: Path) -> None:
    """NDCG@10 of each model with its interval, and of each seed's."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.1 + 0.34 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for line, row in enumerate(rows):
            found = row["metrics"][NDCG]
            axes.plot(found["ci95"], [line, line], color=BLUE, linewidth=2)
            axes.plot([found["value"]], [line], "o", color=BLUE)
            axes.plot(row["by_seed"], [line + 0.25] * len(row["by_seed"]), ".", color=GREY)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set(title="NDCG@10 with 95 % interval; grey: each seed")
        axes.grid(axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        save_svg(figure, path)


def draw_certificate(
    curve: Sequence[Mapping[str, Any]],
    same_first: float,
    blocks: Sequence[Mapping[str, Any]],
    path: Path,
) -> None:
    """Shares of users against margin over bound on the left, distance by block on the right."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        shares, distance = figure.subplots(1, 2, width_ratios=(3, 2))
        ratios = [point["ratio"] for point in curve]
        for name, label, colour in (
            ("share", "one bound for all items", BLUE),
            ("share_by_pair", "a bound for each pair", AMBER),
        ):
            shares.plot(ratios, [point[name] for point in curve], label=label, color=colour)
        shares.axvline(1, color=INK, linewidth=0.8, label="certified to the right")
        shares.axhline(same_first, color=GREY, linestyle=":", label="in fact the same")
        shares.set_xscale("log")
        shares.set_xticks([0.1, 0.5, 1, 2, 5], ["0.1", "0.5", "1", "2", "5"])
        shares.minorticks_off()
        shares.set(
            title="share of test users above the ratio", xlabel="margin / bound", ylim=(0, 1.02)
        )
        shares.legend(frameon=False)
        numbers = [step["block"] for step in blocks]
        distance.bar(numbers, [step["distance"] for step in blocks], color=BLUE)
        for step in blocks:
            distance.annotate(
                f"cos {step['cosine']:.2f}",
                (step["block"], step["distance"]),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
            )
        distance.set_xticks(numbers)
        distance.set(title="distance of the states", xlabel="block")
        distance.margins(y=0.15)
        for axes in (shares, distance):
            axes.grid(axis="y", color=GRID, linewidth=0.6)
            axes.set_axisbelow(True)
        save_svg(figure, path)


def _with_intervals(
    axes: Axes, rows: Mapping[int, Row], label: str, colour: str, style: str
) -> None:
    found = [row["metrics"][NDCG] for row in rows.values()]
    values = [figure["value"] for figure in found]
    below = [figure["value"] - figure["ci95"][0] for figure in found]
    above = [figure["ci95"][1] - figure["value"] for figure in found]
    aside = 1.03 if style.startswith("s") else 1.0  # so that intervals do not hide each other
    places = [aside * depth for depth in rows]
    axes.errorbar(places, values, [below, above], fmt=style, color=colour, label=label, capsize=3)
