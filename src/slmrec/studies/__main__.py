"""`python -m slmrec.studies JOB`: do the study that a JSON file describes.

The command line starts it in a process of its own and shows the events that it appends to a file.
"""

import atexit
import gc
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from slmrec.data.sequences import Sequences, load_sequences
from slmrec.errors import SlmrecError
from slmrec.progress import EventFile
from slmrec.studies.ablation import study_ablation
from slmrec.studies.certificate import study_certificate
from slmrec.studies.compression import study_compression
from slmrec.studies.depth import study_depth
from slmrec.studies.distillation import study_distillation
from slmrec.studies.job import Job
from slmrec.studies.kept import Kept
from slmrec.studies.outcome import Outcome
from slmrec.studies.page import write_study
from slmrec.studies.report import Report

STUDIES: Mapping[str, Callable[[Job, Sequences, Kept], Outcome]] = {
    "depth": study_depth,
    "ablation": study_ablation,
    "certificate": study_certificate,
    "distillation": study_distillation,
    "compression": study_compression,
}


def run(job: Job) -> None:
    """Do a study and write it down."""
    report = Report(job.events, job.study)
    with report.study():
        sequences = load_sequences(job.sequences)
        outcome = STUDIES[job.study](job, sequences, Kept(job.work, report))
        write_study(job, sequences, outcome)


def main(path: Path) -> None:
    """Do the job of a file; an error raised on purpose becomes an event and an exit code."""
    job = Job.from_json(path.read_text(encoding="utf-8"))
    try:
        run(job)
    except (SlmrecError, OSError) as error:
        code = getattr(error, "exit_code", SlmrecError.exit_code)
        failed = {"message": str(error), "exit_code": code}
        EventFile(job.events, f"study {job.study}").event("failed", failed)
        raise SystemExit(code) from error


if __name__ == "__main__":
    atexit.register(gc.freeze)  # all memory goes back at once: nobody looks for garbage in it
    main(Path(sys.argv[1]))
