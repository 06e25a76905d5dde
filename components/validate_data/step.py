"""Validate the canonical log, publish the verdict, stop the run when it is bad."""

import json
from pathlib import Path
from typing import Any

from components.runtime import ROOT, step
from slmrec.artifacts import open_artifact, publish
from slmrec.config import ValidateData
from slmrec.data.validate import PAGE, failure_message, validate, write_verdict
from slmrec.data.verdict import KIND
from slmrec.errors import ValidationFailed
from slmrec.progress import Progress

EXPECTATIONS = ROOT / "validation" / "expectations"


@step("validate_data", outputs=("verdict",))
def run(
    progress: Progress, interactions: str, previous: str, config: str, verdict: str
) -> dict[str, Any]:
    """Write the artifact `validation`; a failing verdict is published too, and then raised.

    `previous` is what `snapshot_source` says of the data behind the production model, or empty.
    """
    settings = ValidateData.from_json(config)
    log = open_artifact(interactions, "interactions")
    found = validate(log, json.loads(previous or "{}"), settings, EXPECTATIONS, progress)
    properties = {
        "success": found.success,
        "checks": len(found.checks),
        "failed": len(found.failures),
    }
    inputs = {"interactions": log}
    with publish(
        Path(verdict), KIND, config=config, inputs=inputs, properties=properties
    ) as directory:
        write_verdict(directory, found)
    if not found.success:
        raise ValidationFailed(failure_message(found, Path(verdict) / PAGE))
    return {
        "digest": open_artifact(verdict, KIND).digest,
        "headline": f"{len(found.checks)} checks passed on {found.card['kept']:,} rows",
        **properties,
    }
