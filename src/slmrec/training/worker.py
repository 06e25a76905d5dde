"""One of several processes that run the same step and train its model together.

Every process does all of the step's work, and `train` divides the batches among them (`take_part`).

On one machine `slmrec.training.launch` starts this module with a folder, in which `job.json` says what
to call. The first process writes to the step's outputs and leaves in `answer.json` what the function
returned; the others write into the folder, which is thrown away. A process that fails on purpose says
why in `failure-RANK.json`. On several machines `torchrun` starts the step itself.
"""

import atexit
import gc
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from slmrec.artifacts import write_json
from slmrec.errors import SlmrecError
from slmrec.progress import EventFile, LogLines, Progress, Silent
from slmrec.training.launch import ANSWER, FAILURE, JOB, rank_among_others


def main(folder: Path) -> None:
    """Do this process's part of the job."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    rank = rank_among_others() or 0
    module, _, name = job["function"].partition(":")
    step = getattr(importlib.import_module(module), name)
    try:
        # The step's own reports are made once, by the process that started these.
        metadata = take_part(
            step.__wrapped__, _progress(rank, job), job["arguments"], job["outputs"], folder
        )
    except (SlmrecError, OSError) as error:
        code = getattr(error, "exit_code", SlmrecError.exit_code)
        write_json(folder / FAILURE.format(rank=rank), {"message": str(error), "exit_code": code})
        raise SystemExit(code) from error
    if rank == 0:
        write_json(folder / ANSWER, metadata)


def take_part(
    function: Callable[..., dict[str, Any]],
    progress: Progress,
    arguments: Mapping[str, Any],
    outputs: Sequence[str],
    elsewhere: Path,
) -> dict[str, Any]:
    """Join the processes that `torchrun` started with this one, and do the step's work among them.

    `arguments` named in `outputs` are paths, to which only the first process writes; the others write
    below `elsewhere`, a folder of this machine. Returns what the function returned.
    """
    torch.distributed.init_process_group()
    rank = torch.distributed.get_rank()
    mine = dict(arguments)
    if rank:
        mine |= {port: str(elsewhere / f"{port}-of-{rank}") for port in outputs}
    answer = function(progress, **mine)
    torch.distributed.destroy_process_group()
    return answer


def _progress(rank: int, job: dict[str, Any]) -> Progress:
    if rank:
        return Silent()
    events, instance = job["events"], job["instance"]
    return EventFile(Path(events), instance) if events else LogLines(instance)


if __name__ == "__main__":
    atexit.register(gc.freeze)  # all memory goes back at once: nobody looks for garbage in it
    main(Path(sys.argv[1]))
