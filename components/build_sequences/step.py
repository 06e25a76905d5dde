"""Build sequences from the validated log."""

from pathlib import Path
from typing import Any

import polars as pl

from components.runtime import step
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.config import BuildSequences
from slmrec.data.build import build, write_sequences
from slmrec.data.history_plot import plot_history
from slmrec.data.sequences import KIND
from slmrec.data.verdict import require_success
from slmrec.progress import Progress


@step("build_sequences", outputs=("sequences",))
def run(
    progress: Progress, interactions: str, verdict: str, config: str, sequences: str
) -> dict[str, Any]:
    """Write the artifact `sequences` from the artifacts `interactions` and `validation`."""
    settings = BuildSequences.from_json(config)
    log = open_artifact(interactions, "interactions")
    validation = open_artifact(verdict, "validation")
    require_success(validation, log)
    built = build(
        pl.read_parquet(log.file("interactions.parquet")),
        pl.read_parquet(log.file("items.parquet")),
        settings,
        progress,
    )
    properties: dict[str, Any] = {}
    inputs = {"interactions": log, "validation": validation}
    with publish(
        Path(sequences), KIND, config=config, inputs=inputs, properties=properties
    ) as directory:
        properties.update(write_sequences(directory, built))
        write_json(directory / "card.json", built.card)
        plot_history(built.sequences, directory / "history.svg")
    card = built.card
    return {
        "digest": open_artifact(sequences, KIND).digest,
        "headline": f"{card['users']:,} users · {card['items']:,} items · "
        f"{card['interactions']:,} interactions",
        **{
            name: card[name]
            for name in ("users", "items", "interactions", "split", "test_targets", "first", "last")
        },
    }
