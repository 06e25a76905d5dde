"""Whom a model serves: NDCG@10 in groups of users."""

from itertools import groupby

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from slmrec.evaluation.outcome import (
    PRODUCTION,
    STUDENT,
    TRANSITIONS,
    Evaluation,
    ModelResult,
    SegmentResult,
)
from slmrec.evaluation.plots.style import INK, PLAIN, SERVING, STYLE, colour, legible, plain, svg

_GROUP = 0.8  # of the distance from a group to the next
_FAINT = 0.45
_TITLES = {
    "history": "by length of history",
    "target": "by what they want next",
    "time": "by time",
}


def shown_models(evaluation: Evaluation, candidate: str) -> list[ModelResult]:
    """Who is drawn: the candidate, the student, transitions, and what serves now."""
    models = evaluation.results["models"]
    beside = [
        *(model for model in models if model["kind"] == STUDENT),
        *(model for model in models if model["name"] == TRANSITIONS),
        *(model for model in models if model["kind"] == PRODUCTION),
    ]
    mine = evaluation.model(candidate)
    return [mine, *(model for model in beside if model["name"] != candidate)]


def segments_svg(evaluation: Evaluation, candidate: str) -> str:
    """Draw NDCG@10 of each group with its 95 % interval, for the few models that matter.

    Groups without enough users are hollow and faint, say so, and do not set the scale.
    """
    with mpl.rc_context(STYLE):
        return svg(segments_figure(evaluation, candidate))


def segments_figure(evaluation: Evaluation, candidate: str) -> Figure:
    """Draw the figure behind `segments_svg`."""
    models = shown_models(evaluation, candidate)
    segments = evaluation.results["segments"]
    panels = [(kind, list(members)) for kind, members in groupby(segments, lambda one: one["kind"])]
    figure = Figure(figsize=(10.4, 3.9), layout="constrained")
    widths = [len(members) for _, members in panels] or [1]
    rows = figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)
    highest = _highest(segments, models)
    for axes, (kind, members) in zip(rows[0], panels, strict=False):
        for place, segment in enumerate(members):
            _draw(axes, place, segment, models, candidate)
        names = [f"{legible(segment['name'])}\n{segment['users']:,} users" for segment in members]
        axes.set_xticks(range(len(members)), names, fontsize=8.5)
        axes.set_xlim(-0.55, len(members) - 0.45)
        axes.set_ylim(0, 1.06 * highest)
        axes.set_title(_TITLES.get(kind, kind), loc="left", fontsize=10, fontweight="bold")
        plain(axes, "y")
        axes.tick_params(axis="x", length=0)
    rows[0, 0].set_ylabel("NDCG@10, with 95 % interval")
    patches = [
        Patch(color=_shade(model, candidate), label=_named(model, candidate)) for model in models
    ]
    figure.legend(handles=patches, loc="outside upper left", ncols=len(models), frameon=False)
    return figure


def _draw(
    axes: Axes, place: int, segment: SegmentResult, models: list[ModelResult], candidate: str
) -> None:
    width = _GROUP / len(models)
    enough = segment["enough_users"]
    for number, model in enumerate(models):
        found = segment["models"][model["name"]]
        x = place + (number + 0.5) * width - _GROUP / 2
        shade = _shade(model, candidate)
        low, high = found["ci95"]
        if enough:
            axes.bar([x], [found["value"]], 0.86 * width, color=shade, alpha=0.75)
            axes.plot([x, x], [low, high], color=INK, linewidth=1.2)
        else:
            axes.bar(
                [x],
                [found["value"]],
                0.86 * width,
                facecolor="none",
                edgecolor=shade,
                linestyle=":",
                alpha=_FAINT,
            )
            axes.plot([x, x], [low, high], color=PLAIN, linewidth=1, linestyle=":", alpha=_FAINT)
    if not enough:
        axes.text(
            place + _GROUP / 2 - 0.03,
            0.97,
            "not enough data",
            transform=axes.get_xaxis_transform(),
            rotation=90,
            ha="left",
            va="top",
            fontsize=8.5,
        )


def _highest(segments: list[SegmentResult], models: list[ModelResult]) -> float:
    """The highest end of an interval; of groups without enough users, the highest value."""
    tops = [
        found["ci95"][1] if segment["enough_users"] else found["value"]
        for segment in segments
        for found in (segment["models"][model["name"]] for model in models)
    ]
    return max(tops, default=0.0) or 1.0


def _shade(model: ModelResult, candidate: str) -> str:
    return SERVING if model["kind"] == PRODUCTION else colour(model, candidate)


def _named(model: ModelResult, candidate: str) -> str:
    name = legible(model["name"])
    return f"{name} (candidate)" if model["name"] == candidate else name
