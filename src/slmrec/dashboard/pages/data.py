"""Data: what was read, what was checked, and what was set aside."""

from collections.abc import Iterable
from typing import Any

import polars as pl

from slmrec.columns import Quarantine
from slmrec.dashboard.files import Holding
from slmrec.dashboard.pages.view import Arguments, PageMissingError, View, numbered, page_count
from slmrec.dashboard.records import Records
from slmrec.dashboard.rendering import Page
from slmrec.dashboard.runs import LOG, SEQUENCES, VALIDATION, Run
from slmrec.dashboard.values import pick, plain, rows

EXAMPLES, PAGES = 50, 20
"""Quarantined rows on a page, and how many pages there are at most."""
_SHOWN = 500
"""Characters of a quarantined row."""


def build(records: Records, arguments: Arguments) -> Page:
    """The newest run's data: the card, the checks, the quarantine."""
    run = next(iter(records.runs.finished()), None)
    if run is None:
        return Page("Data", "Data", "data.html", {"run": None})
    log, verdict, sequences = (
        records.runs.artifact(run, port) for port in (LOG, VALIDATION, SEQUENCES)
    )
    card = _object(log, "card.json")
    validation = _object(verdict, "validation.json")
    drawn = sequences.bytes("history.svg") if sequences else None
    data: dict[str, Any] = {
        "run": {"run_id": run.run_id, "slug": run.slug},
        "card": {key: value for key, value in card.items() if not isinstance(value, dict | list)},
        "card_gone": not card,
        "reasons": [
            {"reason": str(reason), "rows": pick({"rows": count}, "rows", of=int)}
            for reason, count in (pick(card, "quarantine_reasons", of=dict) or {}).items()
        ],
        "quarantined": pick(card, "quarantined", of=int),
        "checks": [_check(row) for row in rows(validation, "checks")],
        "valid": pick(validation, "success", of=bool),
        "validation_gone": not validation,
        "sequences": {
            key: value
            for key, value in _object(sequences, "card.json").items()
            if not isinstance(value, dict | list)
        },
        "sequence_checks": [
            str(one) for one in pick(_object(sequences, "card.json"), "checks", of=list) or []
        ],
        "report": verdict is not None and "validation.html" in verdict.manifest.files,
    }
    data["failed"] = [check for check in data["checks"] if not check["success"]]
    figures = {"history": drawn.decode("utf-8", "replace")} if drawn else {}
    return Page("Data", "Data", "data.html", data, figures)


def build_quarantine(records: Records, arguments: Arguments) -> Page:
    """Rows that were set aside, in the order of the source."""
    found = _quarantine(records)
    if found is None:
        raise PageMissingError("the quarantine of the newest run is gone")
    run, path, total = found
    pages = min(page_count(total, EXAMPLES), PAGES)
    number = numbered(arguments, "page", pages)
    kept = pl.scan_parquet(path).slice((number - 1) * EXAMPLES, EXAMPLES).collect()
    data = {
        "run": {"run_id": run.run_id, "slug": run.slug},
        "rows": [
            {
                "file": str(row.get(Quarantine.FILE) or ""),
                "line": row.get(Quarantine.LINE),
                "reason": str(row.get(Quarantine.REASON) or ""),
                "text": str(row.get(Quarantine.TEXT) or "")[:_SHOWN],
            }
            for row in kept.iter_rows(named=True)
        ],
        "total": total,
        "page_number": number,
        "pages": pages,
    }
    return Page("Quarantine", "Data", "quarantine.html", data)


def build_report(records: Records, arguments: Arguments) -> Page:
    """The validation's page in a frame of its own."""
    run = next(iter(records.runs.finished()), None)
    if run is None or records.runs.artifact(run, VALIDATION) is None:
        raise PageMissingError("the validation report of the newest run is gone")
    data = {
        "run": run.slug,
        "run_id": run.run_id,
        "scripts": False,
        "address": ["runs", run.slug, "reports", "validation"],
    }
    return Page("Validation report", "Data", "framed.html", data)


def _check(row: dict[str, Any]) -> dict[str, Any]:
    expectation = str(row.get("expectation", ""))
    return {
        "suite": str(row.get("suite", "")),
        "expectation": expectation.removeprefix("expect_").replace("_", " "),
        "column": str(row.get("column") or ""),
        "expected": str(row.get("expected") or ""),
        "observed": str(row.get("observed") or ""),
        "success": row.get("success") is True,
        "rows": pick(row, "rows", of=int),
        "unexpected": pick(row, "unexpected", of=int),
        "examples": [str(one) for one in pick(row, "examples", of=list) or []][:10],
        "notes": str(row.get("notes") or ""),
    }


def _object(holding: Holding | None, name: str) -> dict[str, Any]:
    found = plain(holding.json(name)) if holding else None
    return found if isinstance(found, dict) else {}


def _quarantine(records: Records) -> tuple[Run, Any, int] | None:
    run = next(iter(records.runs.finished()), None)
    log = records.runs.artifact(run, LOG) if run else None
    path = log.file("quarantine.parquet") if log else None
    if run is None or path is None:
        return None
    try:
        total = pl.scan_parquet(path).select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError):
        return None
    return run, path, int(total)


def _pages(records: Records) -> Iterable[Arguments]:
    found = _quarantine(records)
    count = min(page_count(found[2], EXAMPLES), PAGES) if found else 0
    return [{"page": str(number + 1)} for number in range(count)]


def _reports(records: Records) -> Iterable[Arguments]:
    run = next(iter(records.runs.finished()), None)
    return [{}] if run and records.runs.artifact(run, VALIDATION) else []


VIEWS = (
    View(("data",), build),
    View(("data", "quarantine", "{page}"), build_quarantine, _pages),
    View(("data", "report"), build_report, _reports),
)
