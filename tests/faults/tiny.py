"""A pipeline so small that it can be killed two hundred times, and a copy of the code to run."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from docs.site.picture import steps
from pipeline.paths import CODE, PIPELINE_FILE, ROOT
from slmrec.yaml_text import read_yaml

SOURCE = "sample:users=300,items=60,interactions=6000,seed=3"
SETTINGS = """
pretrain_items: {width: 16, layers: 1, training: {epochs: 2}}
train_teacher: {width: 16, feed_forward: 32, training: {epochs: 3}}
distill_student: {training: {epochs: 2}}
monitor_drift: {min_users: 100000}
variants: [{name: float32, weights: float32}, {name: int8}]
evaluate_models: {resamples: 100, latency_requests: 5, load_processes: 1, min_overlap: 1.0}
"""
"""Every training takes a moment, drift is not looked for among so few people, and the candidate is the
variant in float32, whatever the clock says of the other."""
LENIENT = {
    "min_users": 20,
    "max_loss_to_transitions": 0.9,
    "max_loss_share_to_student": 0.5,
    "max_batch1_p95_ms": 10000.0,
    "max_latency_increase": 1.0,
    "max_backbone_share_of_teacher": 0.9,
}
"""Thresholds of `validation/gates.yaml` that such a model, or a busy machine, does not meet."""
STEPS = tuple(step.name for step in steps(read_yaml(PIPELINE_FILE, "pipeline")))
"""In the order in which they run."""
UNCACHED = {"snapshot_source", "decide_retraining", "promote_model"}
TIMED = {
    "evaluate-models/timings",
    "evaluate-models/page",
    "evaluate-models/card",
    "promote-model/promotion",
}
"""Outputs that hold clock times, and so differ from run to run."""
_TASK = re.compile(
    r"Executing task \S*?'(?P<begun>[a-z-]+)'|Task \S*?'(?P<ended>[a-z-]+)'\S* finished .*SUCCESS"
)


def copy_code(to: Path) -> Path:
    """The repository's code, to run and to change, with gates that a tiny model passes."""
    to.mkdir(parents=True)
    for name in ("pipeline", PIPELINE_FILE.name, *CODE):
        source = ROOT / name
        if source.is_dir():  # with what numba has compiled, which takes longer than all else
            shutil.copytree(source, to / name)
        else:
            shutil.copy2(source, to / name)
    gates = to / "validation" / "gates.yaml"
    text = gates.read_text(encoding="utf-8")
    for name, value in LENIENT.items():
        text, found = re.subn(rf"^{name}: .*$", f"{name}: {value}", text, flags=re.MULTILINE)
        assert found == 1, name
    gates.write_text(text, encoding="utf-8")
    (to / "settings.yaml").write_text(SETTINGS, encoding="utf-8")
    return to


def start(code: Path, home: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    """`python -m pipeline run` on the tiny sample, in a process group of its own."""
    settings = [] if "--config" in more else ["--config", str(code / "settings.yaml")]
    arguments = ["--interactions", SOURCE, *settings, *more]
    paths = {"PYTHONPATH": f"{code / 'src'}{os.pathsep}{code}"}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", "--home", str(home), "--json", *arguments],
        cwd=code,
        env=os.environ | {"OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"} | paths | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 1800) -> dict[str, Any]:
    """The summary of a run that ends well."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out)


def kill_group(process: subprocess.Popen[str]) -> None:
    """End a run and all that it has started, with no time to say a word."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def logs(home: Path) -> set[Path]:
    """KFP's logs of all runs of a home."""
    return set(home.glob("runs/*/kfp.log"))


def tasks(log: Path) -> tuple[list[str], list[str]]:
    """Steps that a log of KFP says were started, and those that it says ended well."""
    begun, ended = [], []
    for match in _TASK.finditer(log.read_text(encoding="utf-8", errors="replace")):
        if match["begun"]:
            begun.append(match["begun"].replace("-", "_"))
        else:
            ended.append(match["ended"].replace("-", "_"))
    return begun, ended


def started(home: Path, before: Collection[Path] = ()) -> list[str]:
    """Steps that were started by runs whose log was not there `before`."""
    return [step for log in sorted(logs(home) - set(before)) for step in tasks(log)[0]]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether the condition came true while the process lived."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return condition()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.03)
    return True


def forget(home: Path, step: str) -> None:
    """Take a step's results from the task cache, so that it is executed again."""
    for entry in (home / "cache" / "tasks").glob("*.json"):
        content = json.loads(entry.read_text(encoding="utf-8"))
        said = {str(value["metadata"].get("step", "")) for value in content.values()}
        if any(name.partition("[")[0] == step for name in said):
            entry.unlink()


def settings_file(code: Path, change: str) -> Path:
    """The tiny settings with some lines more, in a file of their own."""
    path = code / f"settings-{len(list(code.glob('settings*')))}.yaml"
    path.write_text(SETTINGS + change, encoding="utf-8")
    return path
