"""What the pages show, a module a section."""

from dataclasses import dataclass

from slmrec.dashboard.pages import data, decisions, drift, models, overview, runs
from slmrec.dashboard.runs import DRIFT, VALIDATION

VIEWS = (
    *overview.VIEWS,
    *drift.VIEWS,
    *models.VIEWS,
    *data.VIEWS,
    *runs.VIEWS,
    *decisions.VIEWS,
)
"""Every kind of page."""


@dataclass(frozen=True)
class Report:
    """A page that a step wrote: shown in a frame, never as ours."""

    port: str
    name: str
    scripts: bool = False


REPORTS = {
    "drift": Report(DRIFT, "report.html"),
    "evidently": Report(DRIFT, "evidently.html", scripts=True),
    "validation": Report(VALIDATION, "validation.html"),
}
