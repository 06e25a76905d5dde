"""How models learned, and how near the student came to its teacher."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slmrec.evaluation.outcome import short
from slmrec.evaluation.plots.style import ACCENT, MODEL, STYLE, legible, plain, svg
from slmrec.evaluation.trainings import Block, Curve


def curves_svg(curves: Sequence[Curve]) -> str:
    """Draw a column a model: validation NDCG@10 on one scale, its best epoch marked, above the loss.

    Neither scale begins at 0. Losses have one each: they are sums of different terms.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.0 + 2.4 * len(curves), 4.2), layout="constrained")
        rows = figure.subplots(2, len(curves), squeeze=False, height_ratios=(3, 2), sharex="col")
        values = [value for curve in curves for _, value in curve.validated]
        span = (max(values) - min(values)) or max(values) or 1.0
        for column, curve in enumerate(curves):
            quality, loss = rows[:, column]
            quality.plot(*zip(*curve.validated, strict=True), color=MODEL, marker="o", markersize=3)
            epoch, best = curve.best
            quality.plot([epoch], [best], "o", color=ACCENT, markersize=8)
            last = curve.history[-1]["epoch"]
            quality.annotate(
                f"epoch {epoch:.0f}: {short(best)}",
                (epoch, best),
                xytext=(0, 9),
                textcoords="offset points",
                ha="right" if epoch > 0.6 * last else "left" if epoch < 0.4 * last else "center",
                fontweight="bold",
            )
            # Room for the words.
            quality.set_ylim(max(min(values) - 0.1 * span, 0.0), max(values) + 0.25 * span)
            quality.set_title(legible(curve.name), loc="left", fontsize=11, fontweight="bold")
            loss.plot(*zip(*curve.losses, strict=True), color=MODEL)
            loss.set_title(" + ".join(curve.terms), loc="left", fontsize=8.5)
            loss.set_xlabel("epoch")
            loss.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            loss.yaxis.set_major_locator(MaxNLocator(4))
            for axes in (quality, loss):
                plain(axes, "y")
            if column:
                quality.tick_params(labelleft=False)
        rows[0, 0].set_ylabel("validation NDCG@10")
        rows[1, 0].set_ylabel("training loss")
        return svg(figure)


def blocks_svg(blocks: Sequence[Block]) -> str:
    """Draw how near the student's states are to the teacher's after each block: direction, distance."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.9 + 0.4 * len(blocks)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        cosines = [block.cosine for block in blocks]
        distances = [block.distance for block in blocks]
        lines = range(len(blocks))
        for axes, values, digits in zip(panels, (cosines, distances), (3, 2), strict=True):
            bars = axes.barh(lines, values, height=0.55, color=MODEL)
            axes.bar_label(bars, [f"{value:.{digits}f}" for value in values], padding=4)
            plain(axes)
            axes.tick_params(axis="y", length=0)
        panels[0].set_xlim(min(0.0, *cosines) * 1.3, 1.15)
        panels[0].set_xticks([tick for tick in (-1, -0.5, 0, 0.5, 1) if tick >= min(0.0, *cosines)])
        panels[0].set_xlabel("cosine of the two states; 1: one direction")
        panels[1].set_xlim(0, 1.2 * max(distances) or 1.0)
        panels[1].set_xlabel("distance of the two states; 0: the same")
        panels[0].set_yticks(lines, [f"block {block.number}" for block in blocks])
        panels[0].set_ylim(len(blocks) - 0.5, -0.5)
        return svg(figure)
