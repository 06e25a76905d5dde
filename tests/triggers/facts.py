"""Facts of a registry whose version 3 serves, was made from 1,000 bytes, and where nothing is new."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from slmrec.config import DecideRetraining
from slmrec.data.listing import Files, Listing
from slmrec.registry.channels import Channels
from slmrec.registry.decisions import RETRAIN, SNOOZE, Decision
from slmrec.registry.versions import DataFacts, Version
from slmrec.triggers.reasons import DriftFinding, Facts, SeenSource

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRAINED = "2026-02-01T00:00:00+00:00"
FILES: Files = {"interactions/day1": (600, "a"), "interactions/day2": (400, "b")}


def version(number: int, **other: Any) -> Version:
    facts = DataFacts("sequences", 1000, 99, source_digest="old")
    digests = {"code_digest": "code", "settings_digest": "settings"}
    made = Version(
        number,
        "int8",
        model_digest="m",
        evaluation_digest="e",
        **digests,
        data=facts,
        added=TRAINED,
    )
    return replace(made, **other)


def unchanged(**other: Any) -> Facts:
    found = Facts(
        now=NOW,
        channels=Channels(production=3),
        production=version(3),
        newest=version(3),
        seen=(SeenSource("version 3 was trained", "old", FILES),),
        source=Listing("old", FILES),
        code_digest="code",
        settings_digest="settings",
        policy=DecideRetraining(),
        min_change=0.05,
    )
    return replace(found, **other)


def grown(size: int) -> Listing:
    """The source with a file more."""
    return Listing(f"with {size} more", {**FILES, "interactions/day3": (size, f"c{size}")})


def finding(verdict: str = "drift", started: str = "2026-02-20T00:00:00+00:00", **other: Any):
    return replace(DriftFinding(verdict, "r7", started, trained=False), **other)


def asked(number: int = 9) -> Channels:
    decision = Decision(number, RETRAIN, None, 3, "new season", "ann", "2026-02-25T00:00:00+00:00")
    return Channels(production=3, request=decision)


def snoozed(until: str, channels: Channels | None = None) -> Channels:
    decision = Decision(10, SNOOZE, None, 3, "a sale", "bob", TRAINED, until=until)
    return replace(channels or Channels(production=3), snooze=decision)
