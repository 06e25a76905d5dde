"""Build sequences from the validated log."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from components.runtime import step
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.config import BuildSequences
from slmrec.data.audit import audit
from slmrec.data.build import build, write_sequences
from slmrec.data.history_plot import plot_history
from slmrec.data.listing import SOURCE_FILES
from slmrec.data.sequences import KIND
from slmrec.data.verdict import require_success
from slmrec.errors import ConfigError, ValidationFailed
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
    source = log.json("card.json")
    if source["order_only"] and settings.split == "global_time":
        raise ConfigError(
            "build_sequences.split is global_time, but the log has an order and no times; set "
            "build_sequences.split to leave_one_out"
        )
    items = pl.read_parquet(log.file("items.parquet"))
    built = build(log.file("interactions.parquet"), items, settings, progress)
    checks = audit(built.sequences, settings, built.item_table, built.user_table)
    for check in checks:
        if not check.success:
            raise ValidationFailed(
                f"build_sequences: {check.expectation} failed: {check.unexpected:,} of "
                f"{check.rows:,}, for example {', '.join(check.examples) or check.observed}; this "
                "is a fault of the step, please report it with the log's card.json"
            )
    card = {
        **built.card,
        "source_digest": log.properties["source_digest"],
        "order_only": source["order_only"],
        "ties": source["ties"],
        "repeats": source["repeats"],
        "checks": [check.expectation for check in checks],
    }
    properties: dict[str, Any] = {}
    inputs = {"interactions": log, "validation": validation}
    with publish(
        Path(sequences), KIND, config=config, inputs=inputs, properties=properties
    ) as directory:
        properties.update(write_sequences(directory, built))
        write_json(directory / "card.json", card)
        shutil.copyfile(log.file(SOURCE_FILES), directory / SOURCE_FILES)
        plot_history(built.sequences, card, directory / "history.svg")
    return {
        "digest": open_artifact(sequences, KIND).digest,
        "headline": f"{card['users']:,} users · {card['items']:,} items · "
        f"{card['interactions']:,} interactions",
        **{
            name: card[name]
            for name in ("users", "items", "interactions", "split", "test_targets", "first", "last")
        },
    }
