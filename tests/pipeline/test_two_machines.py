"""A step that two processes train together: on one machine, and on two.

Two `torchrun` beside each other stand for the machines, told of each other as a service does.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.cache_teacher.step import run as cache_teacher
from components.distill_student.step import run as distill_student
from components.pretrain_items.step import run as pretrain_items
from components.runtime import EVENTS_VARIABLE, PROCESSES_VARIABLE
from components.train_teacher.step import run as train_teacher
from pipeline.paths import CONFIGS, ROOT
from slmrec.artifacts import open_artifact
from slmrec.config import CacheTeacher
from slmrec.config_file import load_config
from tests.components.tiny_steps import QUICK, SASREC, STUDENT, TEACHER, publish_circles
from tests.pipeline.submission.calls import IMAGE, call

STILL = {"dropout": 0.0, "embedding_dropout": 0.0}
"""Each process draws its own dropout; without it two train as one does."""
SMALL = [f"distill_student.layers={STUDENT.layers}"] + [
    f"distill_student.training.{key}={value}"
    for key, value in (QUICK.model_dump(exclude_defaults=True) | STILL).items()
]
READ = ("sequences=sequences", "teacher=teacher", "caches=cache0", "caches=cache1")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the student learns from."""
    folder = tmp_path_factory.mktemp("shared")

    def at(name: str) -> str:
        return str(folder / name)

    publish_circles(folder / "sequences")
    pretrain_items(at("sequences"), SASREC.to_json(), at("sasrec"))
    train_teacher(at("sequences"), at("sasrec"), TEACHER.to_json(), at("teacher"))
    cache = CacheTeacher(blocks=1).to_json()
    for number in range(2):
        cache_teacher(at("sequences"), at("teacher"), f"{number}/2", cache, at(f"cache{number}"))
    return folder


@dataclass(frozen=True)
class Distilled:
    """What the step left and said."""

    place: Path
    said: dict[str, Any]
    events: list[str]

    @property
    def digest(self) -> str:
        return open_artifact(self.place, "student").digest

    @property
    def history(self) -> list[dict[str, float]]:
        return open_artifact(self.place).json("training.json")["history"]


def distilled(shared: Path, processes: int) -> Distilled:
    """Of so many processes of this machine."""
    config = load_config(CONFIGS / "default.yaml", SMALL).distill_student.to_json()
    place, events = shared / f"by-{processes}", shared / f"by-{processes}.jsonl"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(PROCESSES_VARIABLE, str(processes))
        patched.setenv(EVENTS_VARIABLE, str(events))
        patched.setenv("OMP_NUM_THREADS", "1")
        caches = [str(shared / "cache0"), str(shared / "cache1")]
        said = distill_student(
            str(shared / "sequences"), str(shared / "teacher"), caches, config, str(place)
        )
    lines = events.read_text().splitlines()
    return Distilled(place, said, [json.loads(line)["event"] for line in lines])


@pytest.fixture(scope="module")
def one_machine(shared: Path) -> Distilled:
    """What two processes of one machine make."""
    return distilled(shared, 2)


def command(shared: Path, target: str, name: str) -> tuple[list[str], dict[str, str]]:
    """The manifest's own command and variables, with paths of this machine."""
    below = "/gcs/shop" if target == "vertex" else str(shared)
    settings = [word for setting in SMALL for word in ("--set", setting)]
    inputs = [one.replace("=", f"={below}/") for one in READ]
    places = (*(word for one in inputs for word in ("--input", one)), "--output", f"{below}/{name}")
    step = ("--step", "distill_student", "--image", IMAGE)
    said = call("manifest", "--target", target, *step, *places, *settings)
    if target == "vertex":
        pools = json.loads(said.replace(below, str(shared)))["jobSpec"]["workerPoolSpecs"]
        container = pools[0]["containerSpec"]
    else:
        container = yaml.safe_load(said)["spec"]["trainer"]
    assert container["command"][0] == "python3"
    words = [sys.executable, *container["command"][1:], *container["args"]]
    return words, {one["name"]: one["value"] for one in container["env"]} | {"OMP_NUM_THREADS": "1"}


def run(words: list[str], told: list[dict[str, str]]) -> list[subprocess.CompletedProcess[str]]:
    machines = [
        subprocess.Popen(
            words,
            cwd=ROOT,
            env=os.environ | one,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in told
    ]
    ended = [machine.communicate(timeout=600) for machine in machines]
    return [
        subprocess.CompletedProcess(words, machine.returncode, *said)
        for machine, said in zip(machines, ended, strict=True)
    ]


def test_two_processes_train_as_one_does_and_one_reports_for_both(
    shared: Path, one_machine: Distilled
) -> None:
    alone = distilled(shared, 1)
    for made in (one_machine, alone):
        assert made.said["digests"] == {"student": made.digest}
        assert (made.events.count("started"), made.events.count("finished")) == (1, 1)
    assert one_machine.events.count("message") == alone.events.count("message")
    for two, one in zip(one_machine.history, alone.history, strict=True):
        assert two == pytest.approx(one, abs=1e-3)
    left = [path.name for path in shared.iterdir() if path.name.startswith("by-")]
    assert sorted(left) == ["by-1", "by-1.jsonl", "by-2", "by-2.jsonl"]


@pytest.mark.parametrize("target", ["trainjob", pytest.param("vertex", marks=pytest.mark.slow)])
def test_they_make_the_model_that_two_processes_of_one_machine_make(
    shared: Path, one_machine: Distilled, target: str
) -> None:
    words, environment = command(shared, target, target)
    told = [environment | machine for machine in described(target)]
    first, second = run(words, told)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    made = open_artifact(shared / target, "student")
    assert made.digest == one_machine.digest
    metadata = json.loads(first.stdout)
    assert metadata["digests"] == {"student": made.digest}
    assert metadata["step"] == "distill_student"
    assert second.stdout == ""
    assert "distill_student:" not in second.stderr  # one reports for all


@pytest.mark.slow
def test_each_says_why_when_the_step_cannot_be_done(shared: Path) -> None:
    words, environment = command(shared, "vertex", "never")
    words = [word.replace("/sequences", "/nothing") for word in words]
    first, second = run(words, [environment | one for one in described("vertex")])
    assert 0 not in (first.returncode, second.returncode)
    said = first.stderr + second.stderr
    assert "nothing: no manifest.json" in said
    assert not (shared / "never").exists()


def described(target: str) -> list[dict[str, str]]:
    """What the service tells each of two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if target == "trainjob":  # as Trainer's plugin for torch sets them
        everyone = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1"}
        return [
            everyone | {"PET_MASTER_PORT": str(port), "PET_NODE_RANK": str(rank)}
            for rank in range(2)
        ]
    cluster = {"workerpool0": [f"127.0.0.1:{port}"], "workerpool1": ["127.0.0.1:2222"]}
    return [
        {"CLUSTER_SPEC": json.dumps({"cluster": cluster, "task": {"type": pool, "index": 0}})}
        for pool in cluster
    ]
