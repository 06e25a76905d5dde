"""All cases as one page with plots."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

from benchmarks.speed.measured import Figure, Measured

COMMAND = "make bench"
BARS = {
    "training": ("an epoch", "seconds an epoch, fewer are better"),
    "inference": ("users a second", "users a second, more are better"),
    "pipeline": ("whole command", "seconds of the whole command"),
    "data": ("together", "seconds from log to sequences"),
}
"""Of which quantity a case's plot is, and its axis."""
AXES = {"scaling": ("size", "seconds an epoch"), "quality": ("seconds of training", "NDCG@10")}
OURS, THEIRS = "#0b7285", "#adb5bd"


def write(folder: Path, cases: Sequence[Measured]) -> None:
    """Write `README.md` and a plot for each case that has one."""
    lines = [
        "# How fast",
        "",
        f"Written by `{COMMAND}`, which writes over it; `LOG=` names the log that stands beside a "
        "case, and `make bench-check` compares a new run with these ratios. "
        "Sides run as processes of their own, in turns, with nothing else on the machine; medians, and "
        "from the smallest to the largest in brackets.",
        "",
    ]
    for case in cases:
        lines += section(case)
        if plot(case, folder / f"{case.case}.svg"):
            lines += [f"![{case.title}]({case.case}.svg)", ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def section(case: Measured) -> list[str]:
    """A case as Markdown."""
    limits = case.machine
    peaks = ", ".join(f"in {kind} {rate:,.0f}" for kind, rate in limits["peak_gflops"].items())
    settings = ", ".join(f"{name} {value}" for name, value in case.settings.items())
    lines = [
        f"## {case.title}",
        "",
        f"`{COMMAND} CASES={case.case}` · {settings}.",
        "",
        f"{limits['processor']}, {limits['threads']} threads: {peaks} GFLOP/s of a square product, "
        f"{limits['copy_gb_per_second']:g} GB/s of a copy.",
        "",
    ]
    if case.ratios:
        lines += ["| ratio | found | asked |", "|---|---|---|"]
        for one in case.ratios:
            asked = (
                ""
                if one.asked is None
                else f"{one.asked:g}" + ("" if one.kept else " — **missed**")
            )
            lines.append(f"| {one.name} | {one.value.shown()} | {asked} |")
        lines.append("")
    lines += table(case.figures)
    lines += [f"- {note}" for note in case.notes]
    versions = ", ".join(f"{name} {text}" for name, text in case.versions.items())
    return [*lines, f"- Versions: {versions}.", ""]


def table(figures: Sequence[Figure]) -> list[str]:
    """Sides as rows, quantities as columns."""
    columns = list(dict.fromkeys((one.what, one.unit) for one in figures))
    cells = {(one.side, one.what, one.unit): one.value.shown() for one in figures}
    heads = [f"{what}, {unit}" if unit else what for what, unit in columns]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(columns) + 1) + "|"]
    for side in dict.fromkeys(one.side for one in figures):
        row = [cells.get((side, *column), "") for column in columns]
        lines.append(f"| {side} | " + " | ".join(row) + " |")
    return [*lines, ""]


def plot(case: Measured, path: Path) -> bool:
    """Draw a case, where it has something to draw."""
    if case.curves:
        drawn = curves(case)
    elif case.case in BARS:
        drawn = bars(case)
    else:
        return False
    drawn.tight_layout()
    drawn.savefig(path, metadata={"Date": None})
    plt.close(drawn)
    return True


def bars(case: Measured) -> plt.Figure:
    """One bar a side, with its ends."""
    what, axis = BARS[case.case]
    chosen = [one for one in case.figures if one.what == what]
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(chosen) + 1))
    places = range(len(chosen))
    middle = [one.value.median for one in chosen]
    ends = [
        [one.value.median - one.value.low for one in chosen],
        [one.value.high - one.value.median for one in chosen],
    ]
    peers = {name.split(":")[0] for name in case.versions if ":" in name}
    colours = [THEIRS if one.side.startswith((*peers, "pandas")) else OURS for one in chosen]
    axes.barh(places, middle, xerr=ends, color=colours, error_kw={"elinewidth": 1})
    axes.set_yticks(places, [one.side for one in chosen])
    axes.invert_yaxis()
    axes.set_xlabel(axis)
    for place, one in zip(places, chosen, strict=True):
        axes.annotate(
            f" {one.value.shown().split()[0]}", (one.value.high, place), va="center", fontsize=8
        )
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def curves(case: Measured) -> plt.Figure:
    """A line for each curve."""
    x, y = AXES[case.case]
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, points in case.curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xscale("log")
    if case.case == "scaling":
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
