"""Load the facts, decide."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from components.runtime import open_registry, step
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.config import DecideRetraining
from slmrec.data.sequences import load_sequences
from slmrec.drift.retraining import decide, known_share, new_since
from slmrec.errors import ArtifactError
from slmrec.progress import Progress
from slmrec.registry.versions import ITEM_TABLE, MODEL

KIND = "decision"


@step("decide_retraining", outputs=("decision",))
def run(
    progress: Progress,
    sequences: str,
    verdict: str,
    registry: str,
    code_digest: str,
    settings_digest: str,
    force: bool,
    config: str,
    decision: str,
) -> dict[str, Any]:
    """Publish `retrain` and `reason`; digests may be empty, and nothing yet in the registry."""
    settings = DecideRetraining.from_json(config)
    data = load_sequences(sequences)
    store = open_registry(registry)
    production = store.production()
    new = new_since(data, production.data) if production else data.interactions
    share = 1.0
    if production is not None:
        try:
            items = store.artifact(production.number, MODEL, progress).file(ITEM_TABLE)
            share = known_share(data, pl.read_parquet(items))
        except ArtifactError as error:
            progress.say(
                f"version {production.number} cannot be asked which items it knows: {error}"
            )
    channels = store.channels()
    made = decide(
        verdict,
        production,
        new,
        code_digest,
        settings_digest,
        share,
        force,
        settings,
        request=channels.request,
        snooze=channels.snoozed(datetime.now(UTC)),
    )
    answer = {"retrain": made.retrain, "reason": made.reason, "new_interactions": new}
    assert data.artifact is not None
    with publish(
        Path(decision), KIND, config=config, inputs={"sequences": data.artifact}
    ) as staging:
        write_json(staging / "decision.json", {**answer, "drift_verdict": verdict})
    return {
        "digest": open_artifact(decision, KIND).digest,
        "headline": f"{'train' if made.retrain else 'do not train'}: {made.reason}",
        **answer,
    }
