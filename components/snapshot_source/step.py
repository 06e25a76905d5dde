"""Identify the input, and what the production model was made from."""

from datetime import UTC, datetime
from typing import Any

from components.runtime import step
from slmrec.artifacts import canonical_json
from slmrec.data.source import snapshot
from slmrec.progress import Progress
from slmrec.registry.store import Registry
from slmrec.registry.versions import ITEM_TABLE, MODEL


@step("snapshot_source")
def run(
    progress: Progress, interactions: str, items: str, registry: str, started: str
) -> dict[str, Any]:
    """Give the digest of both sources, what to compare the log with, and which version serves.

    `items` may be empty. `previous` is JSON for `validate_data`; it is empty without a production
    model, and where that was made from this very source, so that a run on the same data asks every
    data step the same. `production` is the version's number and its model's digest, empty without
    one: when it changes, models are judged anew beside it. `started` comes back as it is given, and
    where nobody could know it, in a run of a schedule, it is now, before the registry is read.
    """
    began = started or datetime.now(UTC).isoformat(timespec="seconds")
    digest = snapshot(interactions, items)
    store = Registry(registry)
    production = store.production()
    previous = ""
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
        "started": began,
        "headline": f"source {digest[:12]}",
    }
