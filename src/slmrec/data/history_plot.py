"""The figure of a sequences artifact: when, what, how long, how often again, and what ties."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import dates, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slmrec.data.ordering import chunks, chunks_of_groups
from slmrec.data.sequences import SPLITS, Sequences
from slmrec.figures import AMBER, BLUE, INK, RED, STYLE, save_svg

_COLOURS = dict(zip(SPLITS, (BLUE, AMBER, RED), strict=True))
_BARS = 52


def plot_history(sequences: Sequences, card: Mapping[str, Any], path: Path) -> None:
    """Write an SVG: interactions over time by split, popularity, lengths, repeats and ties.

    Repeats and ties are those of the log before deduplication, from `card` (keys `repeats`, `ties`
    as in `LogFigures.card`, and `order_only`: whether times are positions). The same arguments give
    the same bytes. Memory does not grow with the number of interactions.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 6.2), layout="constrained")
        grid = figure.add_gridspec(2, 6)
        _draw_time(figure.add_subplot(grid[0, :4]), sequences, order_only=card["order_only"])
        _draw_popularity(figure.add_subplot(grid[0, 4:]), sequences)
        _draw_lengths(figure.add_subplot(grid[1, :2]), sequences)
        _draw_repeats(figure.add_subplot(grid[1, 2:4]), card["repeats"])
        _draw_ties(figure.add_subplot(grid[1, 4:]), card["ties"])
        save_svg(figure, path)


def _draw_time(axes: Axes, sequences: Sequences, *, order_only: bool) -> None:
    pieces = [
        (first, after, slice(sequences.offsets[first], sequences.offsets[after]))
        for first, after in chunks_of_groups(sequences.offsets)
    ]
    earliest = min(int(sequences.timestamps[piece].min()) for _, _, piece in pieces)
    latest = max(int(sequences.timestamps[piece].max()) for _, _, piece in pieces)
    edges = np.linspace(earliest, latest + 1, _BARS + 1)
    places = edges if order_only else edges / 86_400  # matplotlib counts days since 1970
    found = np.zeros(_BARS * len(_COLOURS), np.int64)
    for first, after, piece in pieces:
        bar = (sequences.timestamps[piece] - earliest) * _BARS // (latest + 1 - earliest)
        bar *= len(_COLOURS)
        bar += sequences.split_codes(first, after)
        found += np.bincount(bar, minlength=len(found))
    counts = dict(zip(_COLOURS, found.reshape(_BARS, -1).T, strict=True))
    below = np.zeros(_BARS)
    for split, colour in _COLOURS.items():
        axes.bar(
            places[:-1],
            counts[split],
            np.diff(places) * 0.92,
            bottom=below,
            align="edge",
            color=colour,
            label=split,
        )
        below = below + counts[split]
    if order_only:
        axes.set_title("Interactions by their place in the history")
    else:
        axes.set_title("Interactions over time")
        locator = dates.AutoDateLocator(maxticks=7)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        formatter = dates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_formatter(formatter)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(_thousands))
    axes.legend(frameon=False, ncols=3, loc="upper left", handlelength=0.9)
    axes.set_ylim(0, max(below.max(), 1) * 1.18)


def _draw_popularity(axes: Axes, sequences: Sequences) -> None:
    counts = np.zeros(sequences.item_count + 1, np.int64)
    for piece in chunks(sequences.interactions):
        counts += np.bincount(sequences.items[piece], minlength=len(counts))
    falling = np.sort(counts[1:])[::-1]
    # A log axis shows no more than a few hundred ranks apart.
    shown = np.unique(np.geomspace(1, len(falling), 400).astype(np.int64)) - 1
    axes.plot(shown + 1, falling[shown], color=_COLOURS["train"], linewidth=1.6)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(_thousands))
        axis.set_minor_formatter(ticker.NullFormatter())
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
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(_thousands))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    middle = float(np.median(lengths))
    axes.axvline(middle, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_title("Histories by length")
    axes.set_xlabel(f"interactions, median {middle:g}")


def _draw_repeats(axes: Axes, repeats: Mapping[str, Any]) -> None:
    names = ["a minute", "an hour", "a day", "a week", "a month", "a year", "longer"]
    counts = [count for _, count in repeats["gaps"]]
    axes.barh(names, counts, color=BLUE)
    if not any(counts):
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        axes.text(0.5, len(names) / 2, "no item comes again", ha="center", color=INK)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(_thousands))
    axes.set_title(f"Repeats: {100 * repeats['share']:.1f} % of the log")
    axes.set_xlabel("the same item again within …")


def _draw_ties(axes: Axes, ties: Mapping[str, Any]) -> None:
    sizes = [size for size, _ in ties["sizes"]]
    names = [
        str(low) if low + 1 == high else f"{low}-{high - 1}" for low, high in pairwise(sizes)
    ] + [f"{sizes[-1]}+"]
    colours = [BLUE] + [AMBER] * (len(sizes) - 1)
    axes.barh(names, [count for _, count in ties["sizes"]], color=colours)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(_thousands))
    axes.set_title(f"Ties: {100 * ties['share']:.1f} % of the log")
    axes.set_xlabel("interactions of a user in one second")


def _thousands(value: float, _position: Any) -> str:
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
