"""A step that runs in two processes, for `test_together.py`."""

import os
import signal

import torch

from components.runtime import step
from slmrec.errors import DataError


@step("make_together", outputs=("thing",), trains=True)
def run(progress, how: str, thing: str) -> dict:
    """Fail as `how` says, in one of the two, when both are there."""
    rank = torch.distributed.get_rank()
    torch.distributed.barrier()
    if how == "bad" and rank == 1:
        raise DataError("log.csv: 3 columns, expected 4")
    if how == "killed" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"headline": f"{how} by {rank}"}
