"""Identify the input, and which models serve."""

from datetime import UTC, datetime
from typing import Any

from components.runtime import open_registry, step
from slmrec.artifacts import canonical_json
from slmrec.config import MonitorDrift
from slmrec.data.source import snapshot
from slmrec.drift.handed_out_source import handed_out_digest
from slmrec.progress import Progress
from slmrec.registry.store import Registry
from slmrec.registry.versions import ITEM_TABLE, MODEL, Version


@step("snapshot_source")
def run(
    progress: Progress,
    interactions: str,
    items: str,
    registry: str,
    started: str,
    monitor_drift_config: str,
) -> dict[str, Any]:
    """Give the digest of both sources, what to compare the log with, and which version serves.

    `items` may be empty. `previous` is JSON for `validate_data`; it is empty without a production
    model, and where that was made from this very source, so that a run on the same data asks every
    data step the same. `production` is the version's number and its model's digest, empty without
    one: when it changes, models are judged anew beside it. `serving` is JSON for `monitor_drift`: that
    version, the one that served before it, and the digest of the lists that people were given; empty
    without a production model. `started` comes back as it is given, and where nobody could know it, in
    a run of a schedule, it is now, before the registry is read.
    """
    began = started or datetime.now(UTC).isoformat(timespec="seconds")
    digest = snapshot(interactions, items)
    store = open_registry(registry)
    production = store.production()
    previous = serving = ""
    if production is not None:
        drift = MonitorDrift.from_json(monitor_drift_config)
        serving = canonical_json(_serving(store, production, drift))
    if production is not None and production.data.source_digest != digest:
        previous = canonical_json(
            {
                "version": production.number,
                "interactions": production.data.log_interactions,
                "items": store.uri(production.number, f"{MODEL}/{ITEM_TABLE}"),
            }
        )
    return {
        "digest": digest,
        "previous": previous,
        "production": ""
        if production is None
        else f"{production.number} {production.model_digest}",
        "serving": serving,
        "started": began,
        "headline": f"source {digest[:12]}",
    }


def _serving(store: Registry, production: Version, drift: MonitorDrift) -> dict[str, Any]:
    earlier = next((number for number in store.channels().way_back() if store.has(number)), None)
    asked = [number for number in (production.number, earlier) if number is not None]
    return {
        "version": production.number,
        "previous": earlier,
        "models": [store.version(number).model_digest for number in asked],
        "signatures": [store.signatures.identity(number) for number in asked],
        "recommendations": handed_out_digest(drift.recommendations),
    }
