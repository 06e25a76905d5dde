"""Read the sources, judge every row, publish the canonical log."""

import os
from pathlib import Path
from typing import Any

from components.runtime import DOWNLOADS_VARIABLE, step
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.config import IngestInteractions
from slmrec.data.ingest import KIND, ingest
from slmrec.data.listing import SOURCE_FILES, Listing
from slmrec.data.source import list_source
from slmrec.errors import DataError
from slmrec.progress import Progress
from slmrec.storage.client import is_remote
from slmrec.storage.lasting import lasting


@step("ingest_interactions", outputs=("log",))
def run(
    progress: Progress, interactions: str, items: str, source_digest: str, config: str, log: str
) -> dict[str, Any]:
    """Write the artifact `interactions` to the directory `log`."""
    settings = IngestInteractions.from_json(config)
    found = _unchanged(interactions, items, source_digest)
    properties: dict[str, Any] = {"source_digest": source_digest}
    folder = os.environ.get(DOWNLOADS_VARIABLE)
    remote = is_remote(interactions) or is_remote(items)
    with (
        lasting(Path(folder) if folder and remote else None, source_digest[:16]) as downloads,
        publish(Path(log), KIND, config=config, properties=properties) as directory,
    ):
        card = ingest(interactions, items, settings, directory, progress, downloads)
        _unchanged(interactions, items, source_digest)  # nor while it was read
        write_json(directory / SOURCE_FILES, found.files)
        figures = {
            "rows": card["kept"],
            **{
                name: card[name]
                for name in ("users", "items", "first", "last", "filtered", "quarantined")
            },
        }
        properties.update(figures)
    quarantined = f" · {card['quarantined']:,} quarantined" if card["quarantined"] else ""
    return {
        "digest": open_artifact(log, KIND).digest,
        "headline": f"{card['users']:,} users · {card['items']:,} items · "
        f"{card['kept']:,} interactions{quarantined}",
        **figures,
    }


def _unchanged(interactions: str, items: str, source_digest: str) -> Listing:
    found = list_source(interactions, items)
    if found.digest != source_digest:
        raise DataError(
            f"{interactions}: changed since the run began (digest {found.digest[:12]}, snapshot_source "
            f"found {source_digest[:12]}); start the run again"
        )
    return found
