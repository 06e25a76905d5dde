"""One of several processes that run the same step and train its model together.

`slmrec.training.launch` starts it with a folder, in which `job.json` says what to call. Every process
does all of the step's work, and `train` divides the batches among them. The first one writes to the
step's outputs and leaves in `answer.json` what the function returned; the others write into the
folder, which is thrown away. A process that fails on purpose says why in `failure-RANK.json`.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from slmrec.artifacts import write_json
from slmrec.errors import SlmrecError
from slmrec.progress import EventFile, LogLines, Progress, Silent
from slmrec.training.launch import ANSWER, FAILURE, JOB


def main(folder: Path) -> None:
    """Do this process's part of the job."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    torch.distributed.init_process_group()
    rank = torch.distributed.get_rank()
    arguments = dict(job["arguments"])
    if rank:
        arguments |= {port: str(folder / f"{port}-of-{rank}") for port in job["outputs"]}
    module, _, name = job["function"].partition(":")
    step = getattr(importlib.import_module(module), name)
    try:
        # The step's own reports are made once, by the process that started these.
        metadata = step.__wrapped__(_progress(rank, job), **arguments)
    except (SlmrecError, OSError) as error:
        code = getattr(error, "exit_code", SlmrecError.exit_code)
        write_json(folder / FAILURE.format(rank=rank), {"message": str(error), "exit_code": code})
        raise SystemExit(code) from error
    if rank == 0:
        write_json(folder / ANSWER, metadata)
    torch.distributed.destroy_process_group()


def _progress(rank: int, job: dict[str, Any]) -> Progress:
    if rank:
        return Silent()
    events, instance = job["events"], job["instance"]
    return EventFile(Path(events), instance) if events else LogLines(instance)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
