"""Decisions: what was decided, by whom, on what evidence; and the forms for the next one."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from slmrec.dashboard.deciding import evidence, state
from slmrec.dashboard.pages.overview import candidate_facts, openings
from slmrec.dashboard.pages.view import Arguments, PageMissingError, View, numbered, page_count
from slmrec.dashboard.records import Records
from slmrec.dashboard.rendering import Page

SHOWN = 50
"""Decisions on a page."""


def build(records: Records, arguments: Arguments) -> Page:
    """The log, newest first, and what can be decided now."""
    registered = records.registered()
    log = registered.decisions[::-1]
    pages = page_count(len(log), SHOWN)
    number = numbered({"page": "1", **arguments}, "page", pages)
    channels = registered.channels
    waiting = candidate_facts(records, registered)
    known = evidence(records, registered)
    data: dict[str, Any] = {
        "decisions": [asdict(one) for one in log[(number - 1) * SHOWN : number * SHOWN]],
        "total": len(log),
        "page_number": number,
        "pages": pages,
        "state": asdict(state(registered)),
        "evidence": {action: dict(found) for action, found in known.items()},
        "waiting": waiting,
        "production": channels.production,
        "way_back": next(iter(channels.way_back()), None) if channels.production else None,
        **openings(records, registered),
    }
    title = "Decisions" if number == 1 else f"Decisions, page {number}"
    return Page(title, "Decisions", "decisions.html", data)


def build_decision(records: Records, arguments: Arguments) -> Page:
    """One decision."""
    registered = records.registered()
    number = numbered(arguments, "decision", 10**9)
    made = next((one for one in registered.decisions if one.number == number), None)
    if made is None:
        raise PageMissingError("there is no such decision")
    data = {"decision": asdict(made), "newest": number == registered.channels.decided}
    return Page(f"Decision {number}", "Decisions", "decision.html", data)


def _pages(records: Records) -> Iterable[Arguments]:
    count = page_count(len(records.registered().decisions), SHOWN)
    return [{"page": str(number + 1)} for number in range(count)]


def _decisions(records: Records) -> Iterable[Arguments]:
    return [{"decision": str(one.number)} for one in records.registered().decisions]


VIEWS = (
    View(("decisions",), build),
    View(("decisions", "page", "{page}"), build, _pages),
    View(("decisions", "{decision}"), build_decision, _decisions),
)
