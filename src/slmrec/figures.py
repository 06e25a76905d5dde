"""How figures look, and how they are saved so that the same content gives the same bytes."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

# Hues that stay apart for colour-blind readers.
BLUE, AMBER, RED = "#3b6ea5", "#e0a030", "#b5403a"
INK = "#303030"
SAME_EVERYWHERE: dict[Any, Any] = {
    "svg.hashsalt": "slmrec",
    "svg.fonttype": "path",  # looks the same without the font
    "text.parse_math": False,  # a name is not a formula
}
"""Of every figure, however it looks."""
STYLE: dict[Any, Any] = {
    **SAME_EVERYWHERE,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#909090",
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
}
"""For `matplotlib.rc_context`, around drawing and saving."""


def save_svg(figure: Figure, path: Path) -> None:
    """Save without date and random ids; call inside `rc_context(STYLE)`."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": "slmrec"})
