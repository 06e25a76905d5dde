"""A run of a service as a run of a home: its summary, its events, what its pages show."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.fetching.artifacts import ArtifactFetcher
from pipeline.fetching.remote import RemoteRun, RemoteTask, RunHandle
from pipeline.home import Home
from pipeline.record import RunRecord, StepRecord
from pipeline.submission.transport import SubmissionError
from pipeline.summary import summarise
from slmrec.artifacts import write_json
from slmrec.registry.store import Registry

SUMMARY = "summary.json"
FAILED_SOMEWHERE = "pipeline"
"""Whose failure it is where the service does not tell."""


@dataclass(frozen=True)
class Collector:
    """Brings runs into a home."""

    home: Home
    fetcher: ArtifactFetcher
    registry: str = ""
    """Where the models are; what the run itself was told where empty."""

    def has(self, run: RunHandle) -> bool:
        """Whether a run is in the home, as it ended; one that failed may have been tried again."""
        folder = self.home.run(run.home_id)
        return (folder / SUMMARY).exists() or (folder.is_dir() and not run.succeeded)

    def collect(self, run: RemoteRun) -> dict[str, Any] | None:
        """Put a run into the home; its summary, None where it failed.

        Everything is written aside and appears at once. Raises what fetching an artifact does, and what
        the registry does.
        """
        folder = self.home.run(run.handle.home_id)
        aside = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            record = self._record(run, folder)
            (aside / "pipeline.yaml").write_text(yaml.safe_dump(run.spec), encoding="utf-8")
            (aside / "events.jsonl").write_text(_events(run, record), encoding="utf-8")
            summary = None
            if run.handle.succeeded:
                summary = summarise(record, Registry(record.parameters["registry"]))
                summary["places"]["service"] = run.link
                write_json(aside / SUMMARY, summary)
            shutil.rmtree(folder, ignore_errors=True)
            aside.replace(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return summary

    def _record(self, run: RemoteRun, folder: Path) -> RunRecord:
        if run.handle.succeeded and not run.tasks:
            raise SubmissionError(f"run {run.handle.name}: the service tells nothing of its steps")
        steps: dict[str, StepRecord] = {}
        for task in run.tasks:
            if task.state != "failed":
                step = self._step(task, fetched=run.handle.succeeded)
                steps[step.name] = step  # of one that was repeated, the last
        registry = self.registry or str(run.parameters.get("registry", ""))
        return RunRecord(
            run_id=run.handle.home_id,
            started=run.started,
            folder=folder,
            code_digest=str(run.parameters.get("code_digest", "")),
            parameters={**run.parameters, "registry": registry or self.home.registry},
            steps=list(steps.values()),
            seconds=(run.ended - run.started).total_seconds(),
        )

    def _step(self, task: RemoteTask, *, fetched: bool) -> StepRecord:
        """A step that ended well; of a run that failed nobody looks at what its steps gave."""
        outputs = {}
        for port, artifact in task.outputs.items() if fetched else ():
            place = self.fetcher.fetch(port, artifact)
            if place is not None:
                outputs[port] = place
        metadata = task.metadata
        return StepRecord(str(metadata["step"]), task.state == "cached", metadata, outputs)


def _events(run: RemoteRun, record: RunRecord) -> str:
    """What steps of a run on this machine would have said."""
    events: list[dict[str, Any]] = [
        {
            "event": "cached" if step.cached else "finished",
            "step": step.name,
            "metadata": step.metadata,
            "outputs": {port: str(place) for port, place in step.outputs.items()},
        }
        for step in record.steps
    ]
    if not run.handle.succeeded:
        failed = next((task for task in run.tasks if task.state == "failed"), None)
        said = (failed.message if failed else "") or run.message
        said = said or "failed, and the service does not say why"
        events.append(
            {
                "event": "failed",
                "step": failed.step if failed else FAILED_SOMEWHERE,
                "message": f"{said} ({run.link})",
            }
        )
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
