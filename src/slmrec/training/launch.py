"""Run a step's function in several processes that train together, one a GPU.

`torchrun` starts and watches them; `slmrec.training.worker` is what each of them does.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slmrec.artifacts import write_json
from slmrec.errors import SlmrecError

JOB = "job.json"
ANSWER = "answer.json"
FAILURE = "failure-{rank}.json"


class TogetherError(SlmrecError):
    """What one of the processes raised on purpose; it ends with that error's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


def rank_among_others() -> int | None:
    """The number of this process among those that `torchrun` started, over all machines.

    None where `torchrun` started nothing.
    """
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else None


def train_together(
    processes: int,
    function: str,
    arguments: Mapping[str, Any],
    outputs: Sequence[str],
    *,
    instance: str,
    events: str | None,
    import_from: Path,
) -> dict[str, Any]:
    """Call the step `function`, `MODULE:NAME` below `import_from`, in several processes.

    `arguments` are its own without the progress, as JSON can say them; those named in `outputs` are
    paths, to which only the first process writes. It reports as `instance`, to the file `events`
    where there is one. Returns what the first process returned.

    Raises `TogetherError` when a process raised an error on purpose, `SlmrecError` when one ended
    otherwise.
    """
    job = {
        "function": function,
        "arguments": dict(arguments),
        "outputs": list(outputs),
        "instance": instance,
        "events": events,
    }
    paths = filter(None, [str(import_from), os.environ.get("PYTHONPATH")])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_json(folder / JOB, job)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        worker = [f"--nproc-per-node={processes}", "-m", "slmrec.training.worker", temporary]
        finished = subprocess.run(  # noqa: S603 a command of ours
            torchrun + worker, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        )
        for failure in sorted(folder.glob(FAILURE.format(rank="*"))):
            raise TogetherError(**json.loads(failure.read_text(encoding="utf-8")))
        if finished.returncode:
            raise SlmrecError(
                f"one of {processes} processes that trained together ended without a word "
                f"(torchrun's exit code {finished.returncode}); the log holds what it printed"
            )
        answer: dict[str, Any] = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
        return answer
