"""The runs under a home, as their summaries tell them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmrec.dashboard.files import Files, Holding, Shelf
from slmrec.dashboard.values import pick, plain, rows, slug, text

SUMMARY = "summary.json"
DRIFT, VALIDATION = "monitor_drift.report", "validate_data.verdict"
LOG, SEQUENCES = "ingest_interactions.log", "build_sequences.sequences"
PROMOTION = "promote_model.promotion"


@dataclass(frozen=True)
class Summary:
    """What a finished run said of itself, without the figures of its models."""

    started: str
    seconds: float | None
    verdict: str
    alarms: tuple[Mapping[str, Any], ...]
    data: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...]
    retrained: bool
    reason: str
    """Why it trained or did not."""
    gates: tuple[Mapping[str, Any], ...]
    promoted: int | None
    promotion: str
    code_digest: str
    places: Mapping[str, str] = field(default_factory=dict)
    """Where its artifacts were written, by step and port."""


@dataclass(frozen=True)
class Run:
    """One run."""

    run_id: str
    folder: Path
    summary: Summary | None
    """None where the run has not ended, or ended without one."""

    @property
    def slug(self) -> str:
        """The run in an address."""
        return slug(self.run_id)


class Runs:
    """Every run of a home, and what it left."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "runs"
        self.files = Files()
        self.shelf = Shelf(home, self.files)

    def all(self) -> list[Run]:
        """Every run, newest first."""
        try:
            folders = sorted(self._folder.iterdir(), reverse=True)
        except OSError:
            return []
        return [
            Run(folder.name, folder, self.files.get(folder / SUMMARY, parse_summary))
            for folder in folders
            if not folder.name.startswith(".") and folder.is_dir()
        ]

    def finished(self) -> list[Run]:
        """Those with a summary, newest first."""
        return [run for run in self.all() if run.summary is not None]

    def find(self, name: str) -> Run | None:
        """The run whose slug that is."""
        return next((run for run in self.all() if run.slug == name), None)

    def artifact(self, run: Run, port: str) -> Holding | None:
        """What a step of the run gave, if it is still there."""
        place = run.summary.places.get(port, "") if run.summary else ""
        return self.shelf.find(place) if place else None

    def whole_summary(self, run: Run) -> dict[str, Any]:
        """All of a run's summary."""
        found = plain(self.files.get(run.folder / SUMMARY, json.loads))
        return found if isinstance(found, dict) else {}

    def failure(self, run: Run) -> tuple[str, str] | None:
        """Which step of a run without a summary failed, and what it said."""
        return self.files.get(run.folder / "events.jsonl", parse_failure)


def parse_summary(content: bytes) -> Summary:
    """Read a summary; what is missing or malformed in it is left out. Raises `ValueError`."""
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError("no summary")  # noqa: TRY004 - the content, not the argument
    places = pick(found, "places", of=dict) or {}
    return Summary(
        started=text(found, "started"),
        seconds=pick(found, "seconds", of=float),
        verdict=text(found, "drift", "verdict"),
        alarms=tuple(plain(rows(found, "drift", "alarms"))),
        data=plain(pick(found, "data", of=dict) or {}),
        steps=tuple(plain(rows(found, "steps"))),
        retrained=pick(found, "retrained", of=bool) or False,
        reason=text(found, "decision", "reason"),
        gates=tuple(plain(rows(found, "gates"))),
        promoted=pick(found, "promoted", of=int),
        promotion=text(found, "promotion"),
        code_digest=text(found, "code_digest"),
        places={name: place for name, place in places.items() if isinstance(place, str)},
    )


def parse_failure(content: bytes) -> tuple[str, str]:
    """The last failure among a run's events. Raises `ValueError` when there is none."""
    for line in reversed(content.splitlines()):
        if b'"failed"' not in line:
            continue
        event = json.loads(line)
        if text(event, "event") == "failed":
            return text(event, "step"), text(event, "message")
    raise ValueError("no failure")
