"""A registry whose production was made from a log, by this code, with the settings that a call has."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.code import code_digest
from pipeline.parameters import chosen_settings, settings_digest
from pipeline.submission.once import NAME
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.data.source import list_source
from slmrec.registry.store import Registry
from slmrec.registry.versions import DataFacts
from slmrec.storage.documents import Documents
from tests.pipeline.submission.calls import IMAGE, call

NOW = datetime.now(UTC).isoformat(timespec="seconds")
TRIGGERED = rf"{NAME}-trigger-[0-9a-f]{{20}}"


def serve_version(
    registry: Registry, scratch: Path, interactions: str, *, number: int = 1, **other: Any
) -> None:
    """Add a version that was trained on a source as it is now, and let it serve."""
    parts = []
    for kind in ("servable", "evaluation", "timings"):
        with publish(scratch / f"{kind}-{number}", kind, properties={"name": "int8"}) as staging:
            write_json(staging / "content.json", number)
        parts.append(open_artifact(scratch / f"{kind}-{number}"))
    source = list_source(interactions, "")
    made = {
        "code_digest": code_digest(),
        "settings_digest": settings_digest(chosen_settings(interactions, None, [])),
        "time": "2026-01-02T03:04:05+00:00",
        "source": source.files,
    }
    facts = DataFacts("sequences", 1000, 99, source_digest=source.digest)
    version = registry.add(*parts, facts, **{**made, **other})
    before = registry.channels().production
    registry.promote(version.number, before, reason="r", actor="a", time="t")


def told(*arguments: str) -> dict[str, Any]:
    """What a trigger says with --json."""
    return json.loads(call("trigger", *arguments, "--image", IMAGE, "--json"))


def holding(said: dict[str, Any]) -> list[str]:
    """The reasons that hold."""
    return [reason["name"] for reason in said["reasons"] if reason["holds"]]


def everything(documents: Documents) -> dict[str, bytes]:
    """All that is in a registry."""
    folders = ("versions", "decisions")
    names = [name for folder in folders for name in documents.names(folder)]
    return documents.read_all([*names, "channels.json", "triggers.json"])
