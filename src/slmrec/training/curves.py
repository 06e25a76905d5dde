"""Loss and quality curves of a training."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slmrec.figures import BLUE, STYLE, save_svg


def draw_curves(history: Sequence[dict[str, float]], name: str, path: Path) -> None:
    """Save an SVG with the training loss terms on the left and validation NDCG@10 on the right."""
    epochs = [entry["epoch"] for entry in history]
    terms = [key for key in history[0] if key not in ("epoch", "ndcg@10")]
    validated = [entry for entry in history if "ndcg@10" in entry]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2))
        losses, quality = figure.subplots(1, 2)
        # Fixed, since a layout that is computed takes as long again as all that is drawn.
        figure.subplots_adjust(left=0.07, right=0.99, bottom=0.15, top=0.91, wspace=0.14)
        for number, term in enumerate(terms):
            shade = mpl.colormaps["viridis"](number / max(len(terms), 1))
            losses.plot(epochs, [entry[term] for entry in history], label=term, color=shade)
        losses.set(title=f"{name}: training loss", xlabel="epoch", ylabel="mean a position")
        losses.legend(frameon=False)
        quality.plot(
            [entry["epoch"] for entry in validated],
            [entry["ndcg@10"] for entry in validated],
            marker="o",
            color=BLUE,
        )
        highest = max((entry["ndcg@10"] for entry in validated), default=0.0)
        quality.set(
            title=f"{name}: validation NDCG@10", xlabel="epoch", ylim=(0, 1.1 * highest or 1)
        )
        for axes in (losses, quality):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(color="#d9dee5", linewidth=0.6)
        save_svg(figure, path)
