"""Load sequences and the production version's facts, monitor, write the report."""

import os
from pathlib import Path
from typing import Any

from components.runtime import ROOT, step
from slmrec.artifacts import open_artifact, publish
from slmrec.config import MonitorDrift
from slmrec.data.sequences import load_sequences
from slmrec.drift.monitor import monitor
from slmrec.drift.report import KIND, write_report
from slmrec.drift.thresholds import DriftThresholds
from slmrec.policy import load_policy
from slmrec.progress import Progress
from slmrec.registry.store import Registry

POLICY = ROOT / "validation" / "drift.yaml"


@step("monitor_drift", outputs=("report",))
def run(
    progress: Progress, sequences: str, registry: str, config: str, report: str
) -> dict[str, Any]:
    """Write the artifact `report`; `registry` may be empty or a place where nothing is yet."""
    settings = MonitorDrift.from_json(config)
    thresholds = load_policy(POLICY, DriftThresholds)
    data = load_sequences(sequences)
    assert data.artifact is not None
    production = Registry(registry).production() if registry else None
    found = monitor(
        data,
        settings,
        thresholds,
        production.data.last if production else None,
        progress,
        order_only=data.artifact.json("card.json")["order_only"],
    )
    properties: dict[str, Any] = {
        "verdict": found.verdict,
        "production": production.number if production else None,
    }
    inputs = {"sequences": data.artifact}
    with publish(
        Path(report), KIND, config=config, inputs=inputs, properties=properties
    ) as directory:
        content = write_report(found, directory)
        if found.comparisons:
            os.environ["DO_NOT_TRACK"] = "1"  # read when evidently is imported
            from slmrec.drift.tabular import write_evidently

            newest = found.comparisons[0]
            write_evidently(
                found.log,
                newest.reference,
                newest.current,
                settings.evidently_rows,
                settings.seed,
                directory,
            )
    alarms = content["alarms"]
    cause = f" · {alarms[0]['sentence']}" if alarms else ""
    return {
        "digest": open_artifact(report, KIND).digest,
        "headline": f"{found.verdict}{cause}",
        "verdict": found.verdict,
        "reason": found.reason,
        "alarms": len(alarms),
        "windows": len(found.comparisons),
    }
