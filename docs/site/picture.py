"""The DAG as a picture, drawn from the compiled file, so that it cannot show another one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any
from xml.sax.saxutils import escape

from pipeline.paths import PIPELINE_FILE
from slmrec.yaml_text import read_yaml

WIDTH, HEIGHT, GAP, STACK, MARGIN = 132, 44, 26, 5, 16
ROW, LABEL, INSET = 116, 26, 18
EVERY, SOMETIMES, MANY = "every run", "only with a reason to train", "several in parallel"
_STYLE = (
    "text{font-family:system-ui,sans-serif;font-size:13px;fill:#1f2933}"
    ".soft{font-size:12px;fill:#7b8794}.box{fill:#eef2ff;stroke:#4c5fd5;stroke-width:1.4}"
    ".second{fill:#e6f7f1;stroke:#15906a}.arrow{fill:none;stroke:#7b8794;stroke-width:1.6}"
    ".head{fill:#7b8794}"
)


@dataclass(frozen=True)
class Step:
    """One step as it is drawn."""

    name: str
    many: bool
    """Whether several instances of it run side by side."""
    branch: bool
    """Whether it runs only where a condition holds."""


def steps(compiled: Mapping[str, Any]) -> list[Step]:
    """The steps of a compiled pipeline, each after those that it waits for."""
    return list(_steps(compiled, compiled["root"]["dag"]["tasks"], many=False, branch=False))


def _steps(
    compiled: Mapping[str, Any], tasks: Mapping[str, Any], *, many: bool, branch: bool
) -> Iterator[Step]:
    waits = {name: task.get("dependentTasks", []) for name, task in sorted(tasks.items())}
    for name in TopologicalSorter(waits).static_order():
        task = tasks[name]
        component = compiled["components"][task["componentRef"]["name"]]
        if "dag" not in component:
            yield Step(name.replace("-", "_"), many, branch)
            continue
        yield from _steps(
            compiled,
            component["dag"]["tasks"],
            many=many or "parameterIterator" in task or "artifactIterator" in task,
            branch=branch or "triggerPolicy" in task,
        )


def draw(shown: list[Step]) -> str:
    """An SVG of two rows: what every run does, and what it does for a reason."""
    rows = [[step for step in shown if step.branch is branch] for branch in (False, True)]
    most = max(len(row) for row in rows)
    width = 2 * MARGIN + most * (WIDTH + GAP) - GAP + 2 * STACK
    height = MARGIN + LABEL + ROW + HEIGHT + 2 * MARGIN + LABEL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(", ".join(step.name for step in shown))}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#ffffff"/>',
    ]
    for place, (row, label) in enumerate(zip(rows, (EVERY, SOMETIMES), strict=True)):
        top = MARGIN + LABEL + place * ROW
        left = MARGIN + place * INSET * 2  # beside the arrow from the row above
        parts.append(f'<text class="soft" x="{left}" y="{top - 9}">{label}</text>')
        for number, step in enumerate(row):
            left = MARGIN + number * (WIDTH + GAP)
            parts += _box(step, left, top)
            if number:
                middle = top + HEIGHT / 2
                before = row[number - 1].many * 2 * STACK
                parts += _arrow(
                    f"M{left - GAP + before + 3} {middle}H{left - 8}", left - 2, middle, down=False
                )
    end = MARGIN + (len(rows[0]) - 1) * (WIDTH + GAP) + WIDTH / 2
    top = MARGIN + LABEL + HEIGHT
    below = MARGIN + LABEL + ROW
    middle = top + 24
    parts += _arrow(
        f"M{end} {top + 2}V{middle}H{MARGIN + INSET}V{below - 8}",
        MARGIN + INSET,
        below - 2,
        down=True,
    )
    foot = below + HEIGHT + STACK * 2 + 16
    parts += [
        _card(MARGIN, foot - 9, 14, 10, "box second"),
        _card(MARGIN + 3, foot - 12, 14, 10, "box second"),
        f'<text class="soft" x="{MARGIN + 24}" y="{foot}">{MANY}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _box(step: Step, left: float, top: float) -> list[str]:
    kind = "box second" if step.branch else "box"
    behind = [
        _card(left + STACK * depth, top + STACK * depth, WIDTH, HEIGHT, kind)
        for depth in ((2, 1, 0) if step.many else (0,))
    ]
    text = (
        f'<text x="{left + WIDTH / 2}" y="{top + HEIGHT / 2 + 4.5}" text-anchor="middle">'
        f"{escape(step.name)}</text>"
    )
    return [*behind, text]


def _card(left: float, top: float, width: float, height: float, kind: str) -> str:
    size = f'width="{width}" height="{height}" rx="{min(6, height // 5)}"'
    return f'<rect class="{kind}" x="{left}" y="{top}" {size}/>'


def _arrow(line: str, x: float, y: float, *, down: bool) -> list[str]:
    head = (
        f"M{x - 5} {y - 8}L{x} {y}L{x + 5} {y - 8}Z"
        if down
        else f"M{x - 8} {y - 5}L{x} {y}L{x - 8} {y + 5}Z"
    )
    return [f'<path class="arrow" d="{line}"/>', f'<path class="head" d="{head}"/>']


def picture() -> str:
    """The committed pipeline as an SVG."""
    return draw(steps(read_yaml(PIPELINE_FILE, "pipeline")))
