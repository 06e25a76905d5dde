"""Plots as SVG texts: small, readable on light and dark, and the same for the same numbers.

They are drawn here because a page shows a dozen, and one takes matplotlib 57 ms; here it takes 0.1 ms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from slmrec.dashboard.rendering import TEMPLATES
from slmrec.figures import AMBER, BLUE, RED

_WIDTH, _HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 16, 34
_COLOURS = {"blue": BLUE, "amber": AMBER, "red": RED}


@dataclass(frozen=True)
class Point:
    """An effect at a window or a run."""

    label: str
    value: float
    alarm: bool


@dataclass(frozen=True)
class Spot:
    """A model among others: what it costs and how good it is."""

    label: str
    cost: float
    value: float
    low: float
    high: float
    marked: bool


@dataclass(frozen=True)
class Node:
    """A step of a run."""

    name: str
    note: str
    state: str
    """`done`, `cached` or `skipped`."""


def effects_svg(points: Sequence[Point], threshold: float | None) -> str:
    """Draw effects in their order; what lies above the threshold is shaded."""
    top = _nice(max([*(point.value for point in points), 1.25 * (threshold or 0.0)]) or 1.0)
    scale = (_HEIGHT - _TOP - _BOTTOM) / top
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(points), 1)

    def height(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value * scale, 1)

    every = math.ceil(len(points) / 6) or 1
    return _draw(
        "effects.svg",
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        top=_TOP,
        base=_HEIGHT - _BOTTOM,
        band=None if threshold is None else height(min(threshold, top)),
        ticks=[(height(top * part / 4), f"{top * part / 4:.3g}") for part in range(5)],
        dots=[
            (round(_LEFT + step * (place + 0.5), 1), height(min(point.value, top)), point.alarm)
            for place, point in enumerate(points)
        ],
        labels=[
            (round(_LEFT + step * (place + 0.5), 1), point.label)
            for place, point in enumerate(points)
            if place % every == 0
        ],
    )


def spark_svg(points: Sequence[Point], threshold: float | None) -> str:
    """Draw the same without words, as small as a word."""
    width, height = 120, 32
    top = max([*(point.value for point in points), 1.25 * (threshold or 0.0)]) or 1.0
    step = width / max(len(points), 1)
    dots = [
        (
            round(step * (place + 0.5), 1),
            round(height - 4 - (height - 8) * min(point.value / top, 1.0), 1),
            point.alarm,
        )
        for place, point in enumerate(points)
    ]
    band = None if threshold is None else round(height - 4 - (height - 8) * threshold / top, 1)
    return _draw("spark.svg", width=width, height=height, dots=dots, band=band)


def costs_svg(spots: Sequence[Spot]) -> str:
    """Draw quality against cost, a logarithm; the line joins what no other beats in both."""
    spots = [spot for spot in spots if spot.cost > 0]
    width, height, base = _WIDTH, 340, 340 - 44
    if not spots:
        return ""
    low, high = (math.log10(end([spot.cost for spot in spots])) for end in (min, max))
    low, high = low - 0.15, high + 0.35
    bottom = min(min(spot.low, spot.value) for spot in spots)
    top = max(max(spot.high, spot.value) for spot in spots)
    margin = 0.12 * ((top - bottom) or max(top, 1e-9))
    bottom, top = max(bottom - margin, 0.0), top + margin

    def across(cost: float) -> float:
        share = (math.log10(cost) - low) / (high - low)
        return round(_LEFT + share * (width - _LEFT - _RIGHT), 1)

    def up(value: float) -> float:
        return round(base - (value - bottom) / (top - bottom) * (base - _TOP), 1)

    front = sorted((across(spot.cost), up(spot.value)) for spot in spots if _unbeaten(spot, spots))
    decades = range(math.floor(low), math.ceil(high) + 1)
    costs = [10.0**power * digit for power in decades for digit in (1, 2, 5)]
    return _draw(
        "costs.svg",
        width=width,
        height=height,
        left=_LEFT,
        right=width - _RIGHT,
        top=_TOP,
        base=base,
        ticks=[
            (up(value), f"{value:.3f}")
            for value in (bottom + (top - bottom) * part / 4 for part in range(5))
        ],
        labels=[(across(c), f"{c:g}") for c in costs if low <= math.log10(c) <= high],
        front=front,
        spots=[
            (
                across(spot.cost),
                up(spot.value),
                up(spot.low),
                up(spot.high),
                spot.label,
                spot.marked,
            )
            for spot in spots
        ],
    )


def graph_svg(layers: Sequence[Sequence[Node]], edges: Sequence[tuple[str, str]]) -> str:
    """Draw steps from top to bottom, a row a layer."""
    widest = max((len(layer) for layer in layers), default=1)
    box, gap, row, tall = 230, 24, 62, 44
    width = widest * (box + gap) + gap
    places = {}
    for depth, layer in enumerate(layers):
        start = (width - len(layer) * (box + gap) + gap) / 2
        for number, node in enumerate(layer):
            places[node.name] = (start + number * (box + gap), 12 + depth * row)
    lines = []
    for a, b in edges:
        if a in places and b in places:
            (ax, ay), (bx, by) = places[a], places[b]
            lines.append((ax + box / 2, ay + tall, bx + box / 2, by))
    return _draw(
        "graph.svg",
        width=width,
        height=24 + max(len(layers) - 1, 0) * row + tall,
        box=box,
        tall=tall,
        lines=lines,
        nodes=[(*places[node.name], node) for layer in layers for node in layer],
    )


def layered(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Names by how many steps lie before them; a circle ends where it would close."""
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for a, b in edges:
            if a in depth and b in depth:
                depth[b] = min(max(depth[b], depth[a] + 1), len(names))
    found = [
        [name for name in names if depth[name] == level] for level in sorted({*depth.values()})
    ]
    return [layer for layer in found if layer]


def direct(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The edges that no longer way replaces."""
    after: dict[str, set[str]] = {}
    for a, b in edges:
        after.setdefault(a, set()).add(b)

    def reaches(start: str, goal: str) -> bool:
        seen, open_ = {start}, [start]
        while open_:
            for one in after.get(open_.pop(), set()) - seen:
                if one == goal:
                    return True
                seen.add(one)
                open_.append(one)
        return False

    return [
        (a, b)
        for a, b in edges
        if not any(reaches(other, b) for other in after.get(a, set()) - {b})
    ]


def _unbeaten(spot: Spot, spots: Sequence[Spot]) -> bool:
    return not any(
        other.cost <= spot.cost
        and other.value >= spot.value
        and (other.cost, other.value) != (spot.cost, spot.value)
        for other in spots
    )


def _nice(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power >= value * 0.999)


def _draw(template: str, **content: object) -> str:
    drawn: str = TEMPLATES.get_template(template).render(
        colours=_COLOURS, pairs=pairwise, **content
    )
    return drawn
