"""How good each model is, and how sure that is."""

import matplotlib as mpl
from matplotlib.figure import Figure

from slmrec.evaluation.metrics import HEADLINE
from slmrec.evaluation.outcome import Evaluation, short
from slmrec.evaluation.plots.style import STYLE, colour, legible, plain, svg


def quality_svg(evaluation: Evaluation, candidate: str) -> str:
    """Draw NDCG@10 of each model with its 95 % interval; the candidate stands out."""
    with mpl.rc_context(STYLE):
        return svg(quality_figure(evaluation, candidate))


def quality_figure(evaluation: Evaluation, candidate: str) -> Figure:
    """Draw the figure behind `quality_svg`."""
    models = evaluation.results["models"]
    figure = Figure(figsize=(7.2, 1.0 + 0.42 * len(models)), layout="constrained")
    axes = figure.add_subplot()
    reach = max(model["metrics"][HEADLINE]["ci95"][1] for model in models) or 1.0
    for line, model in enumerate(models):
        found = model["metrics"][HEADLINE]
        low, high = found["ci95"]
        shade = colour(model, candidate)
        axes.plot([low, high], [line, line], color=shade, linewidth=2, solid_capstyle="butt")
        axes.plot([found["value"]], [line], "o", color=shade, markersize=7)
        chosen = model["name"] == candidate
        text = short(found["value"]) + (" candidate" if chosen else "")
        weight = "bold" if chosen else "normal"
        axes.text(high + 0.015 * reach, line, text, va="center", fontweight=weight)
    axes.set_yticks(range(len(models)), [legible(model["name"]) for model in models])
    axes.invert_yaxis()
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_xlim(0, reach * 1.28)  # room for the words
    axes.set_xlabel("NDCG@10, with 95 % interval")
    plain(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure
