"""A step that runs in two processes, for `test_together.py`."""

import os
import signal
from pathlib import Path

import torch

from components.runtime import step
from slmrec.artifacts import publish, write_json
from slmrec.errors import DataError


@step("make_together", outputs=("thing",), trains=True)
def run(progress, how: str, thing: str) -> dict:
    """Publish who was there, or fail as `how` says."""
    rank = torch.distributed.get_rank()
    progress.say(f"from {rank}")
    everyone = [torch.zeros(1), torch.zeros(1)]
    torch.distributed.all_gather(everyone, torch.tensor([float(rank)]))
    if how == "bad" and rank == 1:
        raise DataError("log.csv: 3 columns, expected 4")
    if how == "killed" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with publish(Path(thing), "thing") as staging:
        write_json(staging / "who.json", {"rank": rank, "of": [float(r) for r in everyone]})
    return {"headline": f"made by {rank}"}
