"""Drift: every statistic over windows and runs, and what moved."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from slmrec.dashboard.pages.view import Arguments, PageMissingError, View
from slmrec.dashboard.plots import Point, effects_svg, spark_svg
from slmrec.dashboard.records import DriftFound, Records
from slmrec.dashboard.rendering import TEMPLATES, Page
from slmrec.dashboard.values import pick, plain, rows, slug, text

RUNS_SHOWN = 60
_KNOWN = {"verdict", "reason", "alarms", "statistics", "windows", "history"}
_EXAMPLES = "example_lists"
_FIRST = ("title", "item_id", "kind", "name", "before", "after", "reference", "current")
"""Columns that a reader looks for first; in the file keys are in the order of the alphabet."""
_COLUMNS = {
    "name",
    "family",
    "reference",
    "current",
    "effect",
    "p",
    "threshold",
    "alarm",
    "sentence",
    "touched_share",
}


def causes(alarms: object) -> list[dict[str, Any]]:
    """Alarms in the order of the report: by the traffic they touch, causes before consequences."""
    return [statistic({**row, "alarm": True}) for row in rows({"alarms": alarms}, "alarms")]


def followed(records: Records) -> list[str]:
    """The statistics that have a page: those of the newest report."""
    found = records.drift()
    return [statistic(row)["slug"] for row in rows(found.content, "statistics")] if found else []


def statistic(row: Mapping[str, Any]) -> dict[str, Any]:
    """One statistic of `drift.json`, whatever its family; what else it holds is `more`."""
    name = text(row, "name") or "?"
    return {
        "name": name,
        "slug": slug(name),
        "family": text(row, "family") or "other",
        "alarm": pick(row, "alarm", of=bool) or False,
        "sentence": text(row, "sentence"),
        **{
            key: pick(row, key, of=float)
            for key in ("reference", "current", "effect", "p", "threshold", "touched_share")
        },
        "more": {key: plain(value) for key, value in row.items() if key not in _COLUMNS},
    }


def build(records: Records, arguments: Arguments) -> Page:
    """The drift of the newest run that looked for it, or of the run that was asked for."""
    run = None
    if "run" in arguments:
        run = records.runs.find(arguments["run"])
        if run is None:
            raise PageMissingError("there is no such run")
    found = records.drift(run)
    if found is None and run is not None:
        raise PageMissingError("the drift report of this run is gone, or it never had one")
    if found is None:
        return Page("Drift", "Drift", "drift.html", {"found": None, "runs": _verdicts(records)})
    statistics = [statistic(row) for row in rows(found.content, "statistics")]
    families: dict[str, list[dict[str, Any]]] = {}
    figures = {}
    for row in statistics:
        families.setdefault(row["family"], []).append(row)
        figures[row["slug"]] = spark_svg(_windows_of(found, row["name"]), row["threshold"])
    data = {
        "found": {
            "verdict": text(found.content, "verdict"),
            "reason": text(found.content, "reason"),
            "run_id": found.run.run_id,
            "run": found.run.slug,
            "digest": found.digest,
            "windows": plain(pick(found.content, "windows", of=dict) or {}),
            "causes": causes(found.content.get("alarms")),
            "families": families,
            "window_count": len(rows(found.content, "history")),
            "moved": _tables(found.content),
            "example_lists": _examples(found.content),
            "evidently": "evidently.html" in found.holding.manifest.files,
        },
        "followed": followed(records),
        "runs": _verdicts(records),
    }
    title = f"Drift in run {found.run.run_id}" if run else "Drift"
    return Page(title, "Drift", "drift.html", data, figures)


def build_statistic(records: Records, arguments: Arguments) -> Page:
    """One statistic: over the windows of the newest report, and over the newest runs."""
    found = records.drift()
    listed = rows(found.content, "statistics") if found else []
    rows_ = [statistic(row) for row in listed]
    row = next((row for row in rows_ if row["slug"] == arguments["statistic"]), None)
    if found is None or row is None:
        raise PageMissingError("the newest drift report has no such statistic")
    windows = [
        {**statistic(one), "window": plain(window.get("current"))}
        for window in rows(found.content, "history")
        for one in rows(window, "statistics")
        if text(one, "name") == row["name"]
    ]
    over_runs = _over_runs(records, row["name"])
    points = [Point(_run_day(one), one["effect"] or 0.0, one["alarm"]) for one in over_runs]
    figures = {
        "windows": effects_svg(_windows_of(found, row["name"]), row["threshold"]),
        "runs": effects_svg(points, row["threshold"]),
    }
    data = {
        "statistic": row,
        "run_id": found.run.run_id,
        "windows": windows,
        "over_runs": over_runs,
        "others": [{"name": one["name"], "slug": one["slug"]} for one in rows_],
        "more_tables": _tables(row["more"]),
        "more_values": {k: v for k, v in row["more"].items() if not isinstance(v, dict | list)},
    }
    title = str(TEMPLATES.filters["label"](row["name"]))
    return Page(title, "Drift", "statistic.html", data, figures)


def build_report(records: Records, arguments: Arguments) -> Page:
    """A report of the run in a frame of its own."""
    run = records.runs.find(arguments["run"])
    if run is None or records.drift(run) is None:
        raise PageMissingError("there is no such report")
    kind = arguments["kind"]
    titles = {"drift": "Drift report", "evidently": "Evidently's report"}
    if kind not in titles:
        raise PageMissingError("there is no such report")
    data = {
        "run": run.slug,
        "run_id": run.run_id,
        "kind": kind,
        "scripts": kind == "evidently",
        "address": ["runs", run.slug, "reports", kind],
    }
    return Page(titles[kind], "Drift", "framed.html", data)


def _windows_of(found: DriftFound, name: str) -> list[Point]:
    points = []
    for window in rows(found.content, "history"):
        for row in rows(window, "statistics"):
            if text(row, "name") == name:
                day = str(TEMPLATES.filters["day"](pick(window, "current", "last", of=float)))
                effect = pick(row, "effect", of=float) or 0.0
                points.append(Point(day, effect, pick(row, "alarm", of=bool) or False))
    return points


def _over_runs(records: Records, name: str) -> list[dict[str, Any]]:
    newest = [(run, records.drift(run)) for run in islice(records.runs.finished(), RUNS_SHOWN)]
    return [
        {
            **statistic(row),
            "run_id": run.run_id,
            "run": run.slug,
            "started": run.summary.started if run.summary else "",
        }
        for run, drift in reversed(newest)
        for row in (rows(drift.content, "statistics") if drift else [])
        if text(row, "name") == name
    ]


def _run_day(row: Mapping[str, Any]) -> str:
    return str(row["started"])[:10]


def _verdicts(records: Records) -> list[dict[str, Any]]:
    return [
        {
            "run_id": run.run_id,
            "slug": run.slug,
            "started": run.summary.started,
            "verdict": run.summary.verdict or "unknown",
            "causes": causes(list(run.summary.alarms)),
            "retrained": run.summary.retrained,
        }
        for run in islice(records.runs.finished(), RUNS_SHOWN)
        if run.summary is not None
    ]


def _tables(content: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Every list of objects: items and segments that moved, and whatever a family adds."""
    return {
        key: _table(rows(content, key)[:100])
        for key in content
        if key not in _KNOWN and key != _EXAMPLES and rows(content, key)
    }


def _table(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the same columns; what an object holds has columns of its own."""
    flat = []
    for row in plain(found):
        cells: dict[str, Any] = {}
        for key, value in row.items():
            inner = value if isinstance(value, dict) else None
            cells |= {key: value} if inner is None else {f"{key} {k}": v for k, v in inner.items()}
        flat.append(cells)
    columns = sorted(dict.fromkeys(key for row in flat for key in row), key=_rank)
    return [{key: row.get(key) for key in columns} for row in flat]


def _rank(column: str) -> int:
    word = column.split(" ")[0]
    return _FIRST.index(word) if word in _FIRST else len(_FIRST)


def _examples(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "user": str(row.get("user", "?")),
            "shared": pick(row, "shared", of=float),
            "before": [str(title) for title in (pick(row, "before", of=list) or [])[:20]],
            "after": [str(title) for title in (pick(row, "after", of=list) or [])[:20]],
        }
        for row in rows(content, _EXAMPLES)[:50]
    ]


def _statistics(records: Records) -> Iterable[Arguments]:
    return [{"statistic": one} for one in followed(records)]


def _runs(records: Records) -> Iterable[Arguments]:
    return [{"run": run.slug} for run in records.runs.finished() if records.drift(run)]


VIEWS = (
    View(("drift",), build),
    View(("drift", "{statistic}"), build_statistic, _statistics),
    View(("runs", "{run}", "drift"), build, _runs),
    View(
        ("runs", "{run}", "drift", "{kind}"),
        build_report,
        lambda records: [{**run, "kind": "drift"} for run in _runs(records)],
    ),
)
