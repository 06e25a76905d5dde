"""What a run did, wherever it ran: `pipeline.summary` tells it."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass
class StepRecord:
    """One step of a run."""

    name: str
    cached: bool
    metadata: dict[str, Any]
    outputs: dict[str, Path]


@dataclass
class RunRecord:
    """What a run did."""

    run_id: str
    started: datetime
    folder: Path
    code_digest: str
    parameters: dict[str, Any]
    steps: list[StepRecord] = field(default_factory=list)
    seconds: float = 0.0

    def output(self, step: str, port: str) -> Path | None:
        """Where a step of this run, executed or cached, left an output."""
        for record in self.steps:
            if record.name == step and port in record.outputs:
                return record.outputs[port]
        return None
