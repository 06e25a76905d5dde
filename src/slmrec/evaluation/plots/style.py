"""What the figures of the report have in common, and how they become SVG text."""

from io import StringIO
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slmrec.evaluation.outcome import BASELINE, ModelResult
from slmrec.figures import SAME_EVERYWHERE

INK = "#1d232b"
ACCENT = "#c2571a"
MODEL = "#2f6f9f"
PLAIN = "#858c94"
SERVING = "#8a63b0"
"""What serves now, beside the candidate and the student."""
LONGEST_NAME = 41
"""As long as a variant's name may be; whoever reads foreign results may meet longer ones."""
# The ink is the one colour that has to follow the page; a viewer without style keeps the dark one.
_ADAPTIVE = (
    f"<style>svg{{color:{INK}}}@media(prefers-color-scheme:dark){{svg{{color:#e4e7eb}}}}</style>"
)
STYLE: dict[Any, Any] = {
    **SAME_EVERYWHERE,
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
"""For `matplotlib.rc_context`, around drawing and saving."""


def colour(model: ModelResult, candidate: str) -> str:
    """The candidate stands out, and what learned nothing keeps back."""
    if model["name"] == candidate:
        return ACCENT
    return PLAIN if model["kind"] == BASELINE else MODEL


def legible(name: str) -> str:
    """A name in one line that leaves room for what it names."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


def plain(axes: Axes, grid: Literal["x", "y", "both"] = "x") -> None:
    """Leave the lines that help reading."""
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(PLAIN)
    axes.grid(axis=grid, color=PLAIN, alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", which="both", color=PLAIN)
    axes.patch.set_alpha(0)


def svg(figure: Figure) -> str:
    """The figure as text whose ink follows the page; call inside `rc_context(STYLE)`."""
    stream = StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    head, start, body = stream.getvalue().partition("<defs>")
    return head + _ADAPTIVE + start + body.replace(INK, "currentColor")
