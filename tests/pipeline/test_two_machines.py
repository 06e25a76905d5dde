"""Two `torchrun` beside each other stand for two machines, told of each other as a service does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.pretrain_items.step import run as pretrain_items
from components.runtime import PROCESSES_VARIABLE
from pipeline.paths import CONFIGS, ROOT
from slmrec.artifacts import open_artifact
from slmrec.config_file import load_config
from tests.components.tiny_steps import SASREC, publish_circles
from tests.pipeline.submission.calls import IMAGE, call

SMALL = [
    f"pretrain_items.{key}={value}"
    for key, value in SASREC.model_dump(exclude={"training"}).items()
] + [
    f"pretrain_items.training.{key}={value}"
    for key, value in SASREC.training.model_dump(exclude_defaults=True).items()
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    publish_circles(folder / "sequences")
    return folder


@pytest.fixture(scope="module")
def one_machine(shared: Path) -> str:
    """Digest of what two processes of one machine make."""
    config = load_config(CONFIGS / "default.yaml", SMALL).pretrain_items.to_json()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(PROCESSES_VARIABLE, "2")
        patched.setenv("OMP_NUM_THREADS", "1")
        pretrain_items(str(shared / "sequences"), config, str(shared / "here"))
    return open_artifact(shared / "here", "sasrec").digest


def command(shared: Path, target: str, name: str) -> tuple[list[str], dict[str, str]]:
    """The manifest's own command and variables, with paths of this machine."""
    below = "/gcs/shop" if target == "vertex" else str(shared)
    settings = [word for setting in SMALL for word in ("--set", setting)]
    places = ("--input", f"sequences={below}/sequences", "--output", f"{below}/{name}")
    step = ("--step", "pretrain_items", "--image", IMAGE)
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


@pytest.mark.parametrize("target", ["trainjob", pytest.param("vertex", marks=pytest.mark.slow)])
def test_they_make_the_model_that_two_processes_of_one_machine_make(
    shared: Path, one_machine: str, target: str
) -> None:
    words, environment = command(shared, target, target)
    told = [environment | machine for machine in described(target)]
    first, second = run(words, told)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    made = open_artifact(shared / target, "sasrec")
    assert made.digest == one_machine
    metadata = json.loads(first.stdout)
    assert metadata["digests"] == {"items_model": made.digest}
    assert metadata["step"] == "pretrain_items"
    assert second.stdout == ""
    assert "pretrain_items:" not in second.stderr  # one reports for all


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
