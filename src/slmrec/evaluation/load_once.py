"""A process that opens one model, answers, and says what that cost: what `measure_loads` starts.

Its argument is a file of JSON: `model`, an artifact's folder; `servable`, whether it is one;
`threads`; `requests`, histories to answer one by one; `batch`, histories to answer at once; and
`exclude_seen`. Once all is imported it prints a line and waits for one before it begins.
"""

import atexit
import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slmrec.artifacts import open_artifact
from slmrec.evaluation.ranking import answer
from slmrec.models.machine import pinned
from slmrec.models.scorer import Scorer
from slmrec.models.servable import KIND, Servable

STATUS = Path("/proc/self/status")


def main(job_file: Path) -> None:
    """Do what the file says; the last line printed is the answer, as JSON."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    requests, batch = (
        [np.asarray(history, dtype=np.int32) for history in job[name]]
        for name in ("requests", "batch")
    )
    exclude_seen = bool(job["exclude_seen"])
    opened = _open_servable if job["servable"] else _torch_opener()
    print("ready", flush=True)
    sys.stdin.readline()
    with pinned(job["threads"]):
        imported = resident_bytes("VmRSS")
        started = time.perf_counter()
        scorer = opened(job["model"], job["threads"])
        answer(scorer, requests[:1], exclude_seen=exclude_seen)
        seconds = time.perf_counter() - started
        for history in requests:
            answer(scorer, [history], exclude_seen=exclude_seen)
        answer(scorer, batch, exclude_seen=exclude_seen)
        peak = resident_bytes("VmHWM")
    print(json.dumps({"seconds": seconds, "imported_bytes": imported, "peak_bytes": peak}))


def resident_bytes(field: str) -> int:
    """Memory of this process that lies in RAM: `VmRSS` now, `VmHWM` at most so far.

    What `getrusage` calls the peak would be that of the process that started this one, where that was
    larger. It stands in where there is no `/proc`.
    """
    if not STATUS.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _open_servable(directory: str, threads: int) -> Scorer:
    return Servable(open_artifact(directory, KIND), threads)


def _torch_opener() -> Callable[[str, int], Scorer]:
    from slmrec.models.loading import load_scorer  # with torch, of which a servable knows nothing

    return load_scorer


if __name__ == "__main__":
    atexit.register(gc.freeze)  # all memory goes back at once: nobody looks for garbage in it
    main(Path(sys.argv[1]))
