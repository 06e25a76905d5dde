"""`python -m pipeline.study_data JOB INTERACTIONS ITEMS`: the sequences that `run` would build.

The functions are those that the pipeline's steps call, in one process; the artifacts lie beside each
other in the study's work folder.
"""

import atexit
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.build_sequences.step import run as build_sequences
from components.ingest_interactions.step import run as ingest_interactions
from components.validate_data.step import run as validate_data
from slmrec.artifacts import canonical_json, digest_text
from slmrec.config import PipelineConfig
from slmrec.data.source import snapshot
from slmrec.errors import SlmrecError
from slmrec.progress import EventFile
from slmrec.studies.job import Job


def sequences_place(work: Path, config: PipelineConfig, interactions: str, items: str) -> Path:
    """Where the sequences of a source lie, by all that decides them but the code."""
    sections = (config.ingest_interactions, config.validate_data, config.build_sequences)
    decides = [snapshot(interactions, items), *(section.to_json() for section in sections)]
    return work / f"sequences-{digest_text(canonical_json(decides))[:16]}"


def main(job_file: Path, interactions: str, items: str) -> None:
    """Do the three data steps; an error raised on purpose becomes an event and an exit code."""
    job = Job.from_json(job_file.read_text(encoding="utf-8"))
    config = job.config
    log, verdict = (
        str(job.work / job.sequences.name.replace("sequences", name)) for name in ("log", "verdict")
    )
    settings = config.ingest_interactions.to_json()
    source = snapshot(interactions, items)
    _do(job, ingest_interactions, interactions, items, source, settings, log)
    _do(job, validate_data, log, "", config.validate_data.to_json(), verdict)
    settings = config.build_sequences.to_json()
    _do(job, build_sequences, log, verdict, settings, str(job.sequences))


def _do(job: Job, step: Callable[..., Any], *arguments: str) -> None:
    function = step.__wrapped__  # type: ignore[attr-defined]
    progress = EventFile(job.events, function.__module__.split(".")[1])
    progress.event("started", {})
    started = time.monotonic()
    try:
        metadata = function(progress, *arguments)
    except (SlmrecError, OSError) as error:
        code = getattr(error, "exit_code", SlmrecError.exit_code)
        progress.event("failed", {"message": str(error), "exit_code": code})
        raise SystemExit(code) from error
    metadata = {**metadata, "seconds": round(time.monotonic() - started, 3)}
    progress.event("finished", {"metadata": metadata, "outputs": {}})


if __name__ == "__main__":
    atexit.register(gc.freeze)  # all memory goes back at once: nobody looks for garbage in it
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
