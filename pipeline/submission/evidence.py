"""What a trigger can know from here: the registry, the source, and what a run said of drift."""

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.submission.bundle import Bundle
from pipeline.submission.options import Work
from slmrec.config import DecideRetraining
from slmrec.data.listing import Listing
from slmrec.errors import ConfigError, SourceMissingError
from slmrec.registry.store import Registry
from slmrec.storage.documents import Documents, open_documents
from slmrec.triggers.reasons import DriftFinding, Facts, SeenSource


def reachable(place: str) -> Documents:
    """The documents of a registry. Raises `ConfigError` where this machine does not have its folder."""
    from slmrec.storage.client import is_remote

    if not is_remote(place) and not Path(place).is_dir():
        raise ConfigError(
            f"--registry {place}: no such folder on this machine, and what was trained and started "
            "stands in it; mount its volume here too, or keep the registry in gs://…"
        )
    return open_documents(place)


def gather(
    documents: Documents,
    work: Work,
    bundle: Bundle,
    *,
    now: datetime,
    forced: str,
    min_change: float | None,
    summary: str,
) -> Facts:
    """All that the reasons are judged by, as it is now. Raises what registry and sources raise."""
    registry = Registry(documents)
    channels, versions = registry.channels(), registry.versions()
    production = next((one for one in versions if one.number == channels.production), None)
    newest = versions[-1] if versions else None
    trained = {one.number: one for one in (production, newest) if one is not None}
    seen = (
        SeenSource(f"version {number} was trained", one.data.source_digest, registry.source(number))
        for number, one in trained.items()
    )
    policy = DecideRetraining.from_json(bundle.parameters["decide_retraining_config"])
    return Facts(
        now=now,
        channels=channels,
        production=production,
        newest=newest,
        seen=tuple(seen),
        source=seen_from_here(work.interactions, work.items),
        code_digest=bundle.parameters["code_digest"],
        settings_digest=bundle.parameters["settings_digest"],
        policy=policy,
        min_change=policy.min_new_share if min_change is None else min_change,
        forced=forced,
        drift=read_finding(summary) if summary else None,
    )


def seen_from_here(interactions: str, items: str) -> Listing | None:
    """What both sources hold; None where they lie in a volume that this machine does not have.

    Objects are listed, not read. Raises `SourceMissingError` for a bucket that cannot be listed.
    """
    from slmrec.data.sample import is_sample
    from slmrec.data.source import list_source, resolve
    from slmrec.storage.client import is_remote

    for source in filter(None, (interactions, items)):
        if is_sample(source) or is_remote(source):
            continue
        try:
            resolve(source)
        except SourceMissingError:
            return None
    return list_source(interactions, items)


def read_finding(summary: str) -> DriftFinding:
    """What a `summary.json`, a path or a `gs://` URI, says of drift.

    Raises `SourceMissingError` where there is none and `ConfigError` where it is another thing.
    """
    from slmrec.data.source import local_file
    from slmrec.storage.client import is_remote
    from slmrec.storage.files import fetch

    with tempfile.TemporaryDirectory(prefix="slmrec-") as scratch:
        place = fetch(summary, Path(scratch)) if is_remote(summary) else local_file(summary)
        content = place.read_bytes()
    try:
        found: dict[str, Any] = json.loads(content)
        return DriftFinding(
            verdict=str(found["drift"]["verdict"]),
            run=str(found["run_id"]),
            started=str(found["started"]),
            trained=bool(found["retrained"]),
            production=found["drift"].get("production"),
        )
    except (ValueError, TypeError, KeyError):
        raise ConfigError(
            f"--summary {summary}: not the summary.json of a run; 'run' leaves one in runs/RUN/ of "
            "its --home"
        ) from None
