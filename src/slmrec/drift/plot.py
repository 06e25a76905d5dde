"""The figure of a drift report: each statistic over the windows, with what would be an alarm."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slmrec.drift.monitor import DriftReport
from slmrec.drift.sentences import LABELS
from slmrec.drift.thresholds import NAMES, StatisticName
from slmrec.figures import BLUE, INK, RED, STYLE, save_svg
from slmrec.times import day

_SHARE, _RELATIVE, _BITS = "change of the share", "relative change", "bits above chance"
_UNITS: dict[StatisticName, str] = {
    "interactions_per_day": _RELATIVE,
    "new_user_share": _SHARE,
    "new_item_share": _SHARE,
    "item_popularity": _BITS,
    "category_mix": _BITS,
    "sequence_length": _RELATIVE,
    "time_gap": _RELATIVE,
    "repeat_share": _SHARE,
    "truncated_share": _SHARE,
    "user_states": "distance above chance",
    "state_separation": "area above chance",
    "exposure": _BITS,
    "list_coverage": "share lost or gained",
    "dead_items": _SHARE,
    "list_novelty": "bits",
    "score_margin": "standard deviations",
    "score_entropy": "bits",
    "previous_overlap": _SHARE,
    "previous_rank_overlap": _SHARE,
    "ndcg": "share lost or gained",
}
_ACROSS = 4


def plot_drift(report: DriftReport, path: Path) -> None:
    """Write an SVG: effect sizes over the windows, oldest first, alarms filled red.

    The same report gives the same bytes.
    """
    computed = {difference.name for one in report.comparisons for difference in one.differences}
    names = [name for name in NAMES if name in computed]
    rows = -(-(len(names) + 1) // _ACROSS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 2.5 * rows), layout="constrained")
        panels = figure.subplots(rows, _ACROSS, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _draw(axes, report, name)
        for axes in panels[len(names) : -1]:
            axes.set_axis_off()
        _draw_legend(panels[-1], report.verdict)
        save_svg(figure, path)


def _draw(axes: Axes, report: DriftReport, name: StatisticName) -> None:
    oldest_first = report.comparisons[::-1]
    found = [comparison.find(name) for comparison in oldest_first]
    effects = [np.nan if one is None else one[0].effect for one in found]
    alarms = [one is not None and one[1] for one in found]
    threshold = report.thresholds.of(name)
    top = 1.15 * float(np.nanmax([threshold * 1.5, 1e-3, *effects]))
    places = np.arange(len(effects))
    axes.axhspan(threshold, top, color=RED, alpha=0.09, linewidth=0)
    axes.axhline(threshold, color=RED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(places, effects, color=BLUE, linewidth=1.4, zorder=2)
    axes.scatter(
        places,
        effects,
        s=30,
        c=[RED if alarm else "white" for alarm in alarms],
        edgecolors=[RED if alarm else BLUE for alarm in alarms],
        zorder=3,
    )
    axes.set_ylim(0, top)
    axes.set_xlim(-0.5, max(len(effects) - 0.5, 0.5))
    ends = [comparison.current.timestamps[-1] for comparison in oldest_first]
    days = [day(end) for end in ends]
    shown = sorted({0, len(days) - 1}) if days else []
    axes.set_xticks(shown, [days[place] for place in shown])
    for place, label in zip(shown, axes.get_xticklabels(), strict=True):
        label.set_horizontalalignment("left" if place == 0 and len(days) > 1 else "right")
    axes.set_title(LABELS[name])
    axes.set_ylabel(_UNITS[name])


def _draw_legend(axes: Axes, verdict: str) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.text(0, 0.86, f"Verdict: {verdict}", fontsize=13, fontweight="bold", color=INK)
    rows = (
        (RED, RED, "alarm: significant and large enough"),
        ("white", BLUE, "no alarm"),
    )
    for height, (face, edge, text) in zip((0.66, 0.52), rows, strict=True):
        axes.scatter([0.04], [height], s=30, c=[face], edgecolors=[edge])
        axes.text(0.11, height, text, va="center", color=INK)
    axes.axhspan(0.34, 0.42, 0, 0.08, color=RED, alpha=0.15, linewidth=0)
    axes.text(0.11, 0.38, "effects that matter", va="center", color=INK)
    axes.text(0, 0.2, "Dates: where the first and last window end", va="center", color="#606060")
