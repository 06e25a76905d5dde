"""The drift report as files: numbers, figure, page, and Evidently's own report."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from slmrec.artifacts import write_json
from slmrec.drift.examples import Names
from slmrec.drift.monitor import DriftReport, summarise
from slmrec.drift.plot import plot_drift
from slmrec.drift.sentences import LABELS
from slmrec.times import day
from slmrec.visible import shown

KIND = "drift_report"

_PAGES = Environment(
    loader=PackageLoader("slmrec.drift", "templates"),
    autoescape=True,
    finalize=shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_report(report: DriftReport, directory: Path, names: Names) -> dict[str, Any]:
    """Write `drift.json`, `drift.svg` and `report.html`; returns what `drift.json` holds."""
    found = summarise(report, names)
    write_json(directory / "drift.json", found)
    plot_drift(report, directory / "drift.svg")
    figure = (directory / "drift.svg").read_text(encoding="utf-8")
    (directory / "report.html").write_text(render(found, figure), encoding="utf-8")
    return found


def render(found: Mapping[str, Any], figure: str) -> str:
    """The page for the content of `drift.json`; `figure` is the SVG text of its plot.

    The figure is embedded as an image, in which a browser runs nothing.
    """
    page: str = _PAGES.get_template("report.html").render(
        found=found, labels=LABELS, figure=b64encode(figure.encode()).decode()
    )
    return page


_PAGES.filters["day"] = day
