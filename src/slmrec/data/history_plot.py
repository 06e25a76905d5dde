"""The figure of a sequences artifact: when, what and how long."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import dates, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slmrec.data.sequences import Sequences
from slmrec.figures import AMBER, BLUE, INK, RED, STYLE, save_svg

_COLOURS = {"train": BLUE, "validation": AMBER, "test": RED}


def plot_history(sequences: Sequences, path: Path) -> None:
    """Write an SVG: interactions over time by split, the popularity curve, history lengths.

    The same sequences give the same bytes.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        over_time, popularity, lengths = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
        _draw_time(over_time, sequences)
        _draw_popularity(popularity, sequences)
        _draw_lengths(lengths, sequences)
        save_svg(figure, path)


def _draw_time(axes: Axes, sequences: Sequences) -> None:
    moments = np.asarray(sequences.timestamps)
    edges = np.linspace(moments.min(), moments.max() + 1, 53)
    days = edges / 86_400  # matplotlib counts days since 1970
    below = np.zeros(52)
    for split, colour in _COLOURS.items():
        counts = np.histogram(moments[sequences.split_mask(split)], edges)[0]
        axes.bar(
            days[:-1],
            counts,
            np.diff(days) * 0.92,
            bottom=below,
            align="edge",
            color=colour,
            label=split,
        )
        below = below + counts
    locator = dates.AutoDateLocator(maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = dates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(_thousands))
    axes.set_title("Interactions over time")
    axes.legend(frameon=False, ncols=3, loc="upper left", handlelength=0.9)
    axes.set_ylim(0, max(below.max(), 1) * 1.18)


def _draw_popularity(axes: Axes, sequences: Sequences) -> None:
    counts = np.sort(np.bincount(sequences.items)[1:])[::-1]
    axes.plot(np.arange(1, len(counts) + 1), counts, color=_COLOURS["train"], linewidth=1.6)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title("Interactions an item")
    axes.set_xlabel("item, most popular first")


def _draw_lengths(axes: Axes, sequences: Sequences) -> None:
    lengths = np.diff(sequences.offsets)
    shortest, longest = int(lengths.min()), int(lengths.max())
    edges = np.unique(np.rint(np.geomspace(shortest, longest + 1, 16)))
    counts = np.histogram(lengths, edges)[0]
    axes.bar(
        edges[:-1], counts, np.diff(edges), align="edge", color=_COLOURS["train"], edgecolor="w"
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(_thousands))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    middle = float(np.median(lengths))
    axes.axvline(middle, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_title("Users by history length")
    axes.set_xlabel(f"interactions a user, median {middle:g}")


def _thousands(value: float, _position: Any) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
