"""Identify the input."""

from typing import Any

from components.runtime import step
from slmrec.data.source import snapshot
from slmrec.progress import Progress


@step("snapshot_source")
def run(progress: Progress, interactions: str, items: str) -> dict[str, Any]:
    """Give the digest of both sources; `items` may be empty."""
    digest = snapshot(interactions, items)
    return {"digest": digest, "headline": f"source {digest[:12]}"}
