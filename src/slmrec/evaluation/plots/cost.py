"""What a model's quality costs: a request's time and the model's size."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slmrec.evaluation.metrics import HEADLINE
from slmrec.evaluation.outcome import Evaluation, ModelResult
from slmrec.evaluation.plots.style import PLAIN, STYLE, colour, legible, plain, svg

MOST_NAMED = 8
"""Models whose names fit beside their discs; more are numbered and listed."""
# Where a label may stand around its disc, in the order of preference: sideways, upwards, points
# further up or down.
_PLACES = (
    (1, 0, 0),
    (-1, 0, 0),
    (0, 1, 0),
    (0, -1, 0),
    (0, -1, 14),
    (0, 1, 14),
    (0, -1, 28),
    (0, 1, 28),
    (0, -1, 42),
    (0, 1, 42),
)


def cost_svg(
    evaluation: Evaluation, timings: Mapping[str, Mapping[str, float]], candidate: str
) -> str:
    """Draw NDCG@10 against the latency of a request; see `cost_figure`."""
    with mpl.rc_context(STYLE):
        return svg(cost_figure(evaluation, timings, candidate))


def cost_figure(
    evaluation: Evaluation, timings: Mapping[str, Mapping[str, float]], candidate: str
) -> Figure:
    """Draw NDCG@10, with its interval, against the latency of one request.

    The area of a disc is the model's size. A line joins the models that no other beats in both: the
    Pareto front.
    """
    models = [model for model in evaluation.results["models"] if model["name"] in timings]
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    largest = max((model["bytes"] for model in models), default=0) or 1
    points = []
    for model in sorted(models, key=lambda model: -model["bytes"]):
        x = max(timings[model["name"]]["batch1_p50"], 1e-3)
        found = model["metrics"][HEADLINE]
        area = 1400 * model["bytes"] / largest + 12
        shade = colour(model, candidate)
        order = 3 if model["name"] == candidate else 2
        axes.scatter(
            [x], [found["value"]], s=area, color=shade, alpha=0.6, linewidths=0, zorder=order
        )
        axes.plot([x, x], found["ci95"], color=shade, linewidth=1.5, zorder=order)
        points.append((x, found["value"], area, model))
    front = pareto_front([(x, y) for x, y, _, _ in points])
    if front:
        axes.plot(*zip(*front, strict=True), color=PLAIN, linewidth=1, zorder=1)
    axes.set_xscale("log")
    if points:
        xs = [point[0] for point in points]
        ends = [end for model in models for end in model["metrics"][HEADLINE]["ci95"]]
        margin = 0.2 * ((max(ends) - min(ends)) or 1.0)
        axes.set_xlim(min(xs) / 3, max(xs) * 5)
        axes.set_ylim(max(min(ends) - margin, 0.0), max(ends) + margin)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(
        "one request, median milliseconds (logarithmic); area of a disc: bytes; line: Pareto front"
    )
    axes.set_ylabel("NDCG@10, with 95 % interval")
    plain(axes)
    if len(points) <= MOST_NAMED:
        names = [_named(model, candidate) for *_, model in points]
        _label(figure, axes, points, names, candidate)
        return figure
    in_order = sorted(points, key=lambda point: point[0])
    numbers = [str(1 + in_order.index(point)) for point in points]
    listed = [
        f"{number}  {_named(model, candidate)}" for number, (*_, model) in enumerate(in_order, 1)
    ]
    figure.set_size_inches(9.6, 4.8)
    axes.text(1.02, 1.0, "\n".join(listed), transform=axes.transAxes, va="top", fontsize=8.5)
    _label(figure, axes, points, numbers, candidate)
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, quality) that no other beats or equals at no more cost, by cost."""
    front: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((cost, quality))
    return front


def _label(
    figure: Figure,
    axes: Axes,
    points: list[tuple[float, float, float, ModelResult]],
    texts: Sequence[str],
    candidate: str,
) -> None:
    # Each label goes to the first side of its disc where it meets no other label and no other disc.
    figure.draw_without_rendering()
    boxes = []
    for x, y, area, _ in points:
        centre, radius = axes.transData.transform((x, y)), _radius(area) * figure.dpi / 72
        boxes.append((*(centre - radius), *(centre + radius)))
    for number, (x, y, area, model) in enumerate(points):
        gap = _radius(area) + 4
        weight = "bold" if model["name"] == candidate else "normal"
        best = None
        for right, up, further in _PLACES:
            label = axes.annotate(
                texts[number],
                (x, y),
                xytext=(right * gap, up * (gap + further)),
                textcoords="offset points",
                ha={0: "center", 1: "left", -1: "right"}[right],
                va={0: "center", 1: "bottom", -1: "top"}[up],
                fontsize=9,
                fontweight=weight,
            )
            extent = label.get_window_extent()
            box = (extent.x0, extent.y0, extent.x1, extent.y1)
            frame = axes.get_window_extent()
            inside = frame.x0 <= extent.x0 and extent.x1 <= frame.x1 and frame.y0 <= extent.y0
            shared = sum(_shared(box, other) for i, other in enumerate(boxes) if i != number)
            penalty = shared + (0.0 if inside else 1e6)
            if best is None or penalty < best[0]:
                if best is not None:
                    best[1].remove()
                best = (penalty, label, box)
            else:
                label.remove()
        assert best is not None
        boxes.append(best[2])


def _shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def _radius(area: float) -> float:
    return float((area / 3.1416) ** 0.5)


def _named(model: ModelResult, candidate: str) -> str:
    role = ", candidate" if model["name"] == candidate else ""
    return f"{legible(model['name'])}{role} ({_size(model['bytes'])})"


def _size(count: int) -> str:
    if count >= 2**20:
        return f"{count / 2**20:.1f} MiB"
    return f"{count / 2**10:.0f} KiB"
