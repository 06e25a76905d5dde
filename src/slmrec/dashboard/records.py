"""All that the pages show: the runs, the registry as it is now, and what time it is."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slmrec.artifacts import Artifact
from slmrec.dashboard.files import Holding
from slmrec.dashboard.runs import DRIFT, PROMOTION, Run, Runs
from slmrec.dashboard.values import pick, plain, rows
from slmrec.errors import SlmrecError
from slmrec.registry.channels import Channels
from slmrec.registry.decisions import Decision
from slmrec.registry.store import Registry
from slmrec.registry.versions import EVALUATION, TIMINGS, Version


@dataclass(frozen=True)
class Registered:
    """The registry at one moment."""

    channels: Channels
    versions: Mapping[int, Version]
    decisions: tuple[Decision, ...]

    @property
    def waiting(self) -> Version | None:
        """The candidate that waits for a person: it neither serves nor was taken back."""
        number = self.channels.candidate
        if number is None or number == self.channels.production:
            return None
        return None if number in self.channels.taken_back else self.versions.get(number)

    @property
    def production(self) -> Version | None:
        """What serves."""
        return self.versions.get(self.channels.production or 0)


@dataclass(frozen=True)
class DriftFound:
    """A drift report that is still there."""

    run: Run
    digest: str
    content: Mapping[str, Any]
    holding: Holding


class Records:
    """What the dashboard reads; safe for several threads."""

    def __init__(self, home: Path, registry: Registry, clock: Callable[[], datetime]) -> None:
        self.home = home
        self.registry = registry
        self.runs = Runs(home)
        self.now = clock
        self._lock = threading.Lock()
        self._registered: Registered | None = None
        self._read: dict[tuple[int, str], dict[str, Any]] = {}
        self._timings: dict[int, Artifact] = {}

    def registered(self) -> Registered:
        """The registry now; read again only when somebody has decided since. Raises `SlmrecError`."""
        channels = self.registry.channels()
        with self._lock:
            kept = self._registered
        # Whoever adds a version proposes it, which is a decision: their count tells of both.
        if kept is not None and kept.channels == channels and channels.decided:
            return kept
        # A pruning takes versions out of the channels first, and their files away after that.
        versions = {
            version.number: version
            for version in self.registry.versions()
            if version.number not in channels.removed
        }
        found = Registered(channels, versions, tuple(self.registry.decisions()))
        with self._lock:
            self._registered = found
        return found

    def metrics(self, version: Version) -> dict[str, Any]:
        """What a version's evaluation measured; empty where it is gone, or was altered."""
        return self._once((version.number, EVALUATION), lambda: self.registry.metrics(version))

    def _once(self, key: tuple[int, str], read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key not in self._read:
            try:
                self._read[key] = plain(read())
            except SlmrecError:
                return {}
        return self._read[key]

    def figures(self, version: Version) -> dict[str, Any]:
        """A version's own figures, as its evaluation and timings recorded them."""
        metrics, number = self.metrics(version), version.number
        timings = self._once(
            (number, TIMINGS), lambda: self.registry.document(number, f"{TIMINGS}/timings.json")
        )
        models = rows(metrics, "models")
        model = next((one for one in models if one.get("name") == version.name), {})
        ndcg = interval(model, "ndcg@10")
        return {
            "ndcg@10": ndcg,
            "hr@10": interval(model, "hr@10"),
            "users_evaluated": pick(metrics, "users", of=int),
            "bytes": pick(model, "bytes", of=int),
            "batch1_p50_ms": pick(timings, version.name, "batch1_p50", of=float),
            "batch1_p95_ms": pick(timings, version.name, "batch1_p95", of=float),
            "users_per_second": pick(timings, version.name, "users_per_second", of=float),
            "coverage": pick(model, "lists", "coverage", of=float),
            "novelty": pick(model, "lists", "novelty", of=float),
        }

    def timings(self, number: int) -> Artifact | None:
        """A version's timings with its report, card and figures; None when they are not whole."""
        if number not in self._timings:
            try:
                self._timings[number] = self.registry.artifact(number, TIMINGS)
            except (SlmrecError, OSError):
                return None
        return self._timings[number]

    def gates(self, number: int) -> tuple[Run, dict[str, Any]] | None:
        """The newest run that put a version through the gates, and what they found."""
        for run in self.runs.finished():
            if run.summary is None or not run.summary.retrained:
                continue
            holding = self.runs.artifact(run, PROMOTION)
            found = holding.json("promotion.json") if holding else None
            if pick(found, "version", of=int) == number:
                return run, plain(found)
        return None

    def drift(self, run: Run | None = None) -> DriftFound | None:
        """The drift report of a run, by default the newest that has one."""
        for one in self.runs.finished() if run is None else [run]:
            holding = self.runs.artifact(one, DRIFT)
            content = holding.json("drift.json") if holding else None
            if holding is not None and isinstance(content, dict):
                return DriftFound(one, holding.manifest.digest, content, holding)
        return None

    def age(self, seconds: float | None) -> float | None:
        """How many seconds ago a moment since 1970 was."""
        return None if seconds is None else self.now().timestamp() - seconds

    def age_of(self, moment: str) -> float | None:
        """How many seconds ago an ISO 8601 moment was; None where it is none."""
        try:
            found = datetime.fromisoformat(moment)
        except ValueError:
            return None
        return (self.now() - (found if found.tzinfo else found.replace(tzinfo=UTC))).total_seconds()


def interval(model: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """A metric with its interval; None for what was not measured."""
    found = pick(model, "metrics", metric, of=dict) or {}
    return {"value": pick(found, "value", of=float), "ci95": ci95(found)}


def ci95(found: Mapping[str, Any]) -> list[float] | None:
    """Both ends of an interval; None where there are not two numbers."""
    ends = pick(dict(found), "ci95", of=list) or []
    numbers = [pick({"end": end}, "end", of=float) for end in ends]
    whole = [number for number in numbers if number is not None]
    return whole if len(whole) == len(ends) == 2 else None


def as_json(data: Any) -> str:
    """The twin of a page."""
    return json.dumps(plain(data), indent=1, ensure_ascii=False, allow_nan=False)
