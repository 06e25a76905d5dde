"""Manifests of a training step on several machines."""

import importlib
import inspect
import json
from typing import Any

import pytest
import yaml

from components.run_step import STEPS
from components.runtime import TIMEOUT_VARIABLE
from pipeline.paths import CONFIGS
from pipeline.resources import load_resources
from pipeline.submission.custom_job import smallest_machine
from slmrec.config import TrainTeacher
from slmrec.config_file import load_config
from tests.pipeline.submission.calls import IMAGE, call, refusal

TEACHER = ("--step", "train_teacher", "--image", IMAGE, "--output", "/gcs/shop/teacher")
INPUTS = ("--input", "sequences=/gcs/shop/sequences", "--input", "items_model=/gcs/shop/sasrec")


def train_job(*more: str) -> dict[str, Any]:
    return yaml.safe_load(call("manifest", "--target", "trainjob", *TEACHER, *INPUTS, *more))


def custom_job(*more: str) -> dict[str, Any]:
    return json.loads(call("manifest", "--target", "vertex", *TEACHER, *INPUTS, *more))


def variables(described: list[dict[str, str]]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in described}


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_train_job_has_the_limits_and_the_settings_of_its_step() -> None:
    spec = train_job("--nodes", "3", "--processes", "2", "--set", "train_teacher.layers=6")["spec"]
    allowed = load_resources().of("train_teacher")
    trainer = spec["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"], trainer["image"]) == (3, 2, IMAGE)
    amounts = {"cpu": f"{allowed.cpu:g}", "memory": f"{allowed.memory_gb:g}G"}
    assert trainer["resourcesPerNode"] == {"limits": amounts, "requests": amounts}
    assert spec["activeDeadlineSeconds"] == 60 * (allowed.timeout_minutes + 30)
    environment = variables(trainer["env"])
    assert environment == {
        TIMEOUT_VARIABLE: str(allowed.timeout_minutes),
        "OMP_NUM_THREADS": f"{allowed.cpu // 2:g}",
    }
    expected = load_config(CONFIGS / "default.yaml", ["train_teacher.layers=6"]).train_teacher
    assert TrainTeacher.from_json(option(trainer["args"], "--config")) == expected
    assert "runtimePatches" not in spec


def test_train_job_mounts_what_its_nodes_share() -> None:
    gpus = ("--accelerator", "nvidia.com/gpu", "--accelerators", "4", "--service-account", "robot")
    spec = train_job("--volume", "models:/gcs/shop", "--checkpoints", "/gcs/shop/going", *gpus)[
        "spec"
    ]
    assert spec["trainer"]["numProcPerNode"] == 4
    assert spec["trainer"]["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "4"
    assert variables(spec["trainer"]["env"])["SLMREC_CHECKPOINTS"] == "/gcs/shop/going"
    (patch,) = spec["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "robot"
    claims = [volume.get("persistentVolumeClaim") for volume in pod["volumes"]]
    assert claims == [{"claimName": "models"}, None]
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"shared": "/gcs/shop", "shared-memory": "/dev/shm"}


def test_custom_job_has_a_pool_of_one_and_a_pool_of_the_others() -> None:
    gpus = ("--accelerator", "NVIDIA_L4", "--accelerators", "2", "--machine-type", "g2-standard-24")
    job = custom_job("--nodes", "4", *gpus)["jobSpec"]
    first, others = job["workerPoolSpecs"]
    assert (first["replicaCount"], others["replicaCount"]) == ("1", "3")
    assert first["containerSpec"] == others["containerSpec"]
    assert first["containerSpec"]["args"][0] == "2"
    assert first["machineSpec"] == {
        "machineType": "g2-standard-24",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 2,
    }
    minutes = load_resources().of("train_teacher").timeout_minutes
    assert job["scheduling"] == {"timeout": f"{60 * (minutes + 30)}s"}
    assert len(custom_job("--nodes", "1")["jobSpec"]["workerPoolSpecs"]) == 1


@pytest.mark.parametrize(
    ("cpu", "memory_gb", "expected"),
    [
        (8, 24, "e2-standard-8"),  # 32 GiB
        (8, 34.3, "e2-standard-8"),  # 32 GiB are 34.36e9 bytes
        (8, 34.4, "e2-highmem-8"),  # 64 GiB
        (1, 8, "e2-highmem-2"),
        (20, 24, "e2-standard-32"),
    ],
)
def test_custom_job_takes_the_smallest_machine_that_holds_the_step(
    cpu: float, memory_gb: float, expected: str
) -> None:
    allowed = load_resources().of("train_teacher")
    change = {"cpu": cpu, "memory_gb": memory_gb}
    assert smallest_machine(allowed.model_copy(update=change)) == expected


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (
            "vertex",
            ("--input", "cache=/gcs/a/b"),
            "train_teacher has no such input; expected NAME=PA",
        ),
        ("vertex", ("--input", "sequences=/gcs/a"), "'sequences' was given before"),
        (
            "vertex",
            ("--output", "/data/teacher"),
            "--output: found '/data/teacher', expected a path",
        ),
        ("vertex", ("--output", "/gcs/../etc"), "--output: found '/gcs/../etc', expected a path"),
        ("vertex", ("--checkpoints", "/tmp/a"), "--checkpoints: found '/tmp/a', expected a path"),
        ("vertex", ("--image", "a b"), "--image 'a b': expected REGISTRY/NAME@sha256"),
        ("vertex", ("--name", "My"), "--name My: expected at most 63"),
        ("vertex", ("--volume", "a:/b"), "only for --target trainjob"),
        ("vertex", ("--accelerators", "1"), "expected both or neither"),
        (
            "vertex",
            ("--accelerator", "NVIDIA_L4", "--accelerators", "1"),
            "--machine-type: missing",
        ),
        (
            "vertex",
            ("--accelerator", "nvidia.com/gpu", "--accelerators", "1", "--machine-type", "a2"),
            "expected a name of Vertex such as NVIDIA_L4",
        ),
        ("vertex", ("--set", "train_teacher.layer=3"), "did you mean 'layers'?"),
        ("trainjob", ("--volume", "models"), "expected CLAIM:/PATH"),
        ("trainjob", ("--volume", "models:/data"), "expected a path below /data"),
        ("trainjob", ("--machine-type", "a2"), "only for --target vertex"),
        ("vertex", ("--runtime", "torch-slurm"), "only for --target trainjob"),
        (
            "trainjob",
            ("--accelerator", "NVIDIA_L4", "--accelerators", "1"),
            "expected a resource of Kubernetes",
        ),
        (
            "trainjob",
            ("--accelerator", "nvidia.com/gpu", "--accelerators", "1", "--processes", "2"),
            "a machine has 1; ask for fewer processes",
        ),
    ],
)
def test_manifest_is_refused_when_an_option_is_wrong(
    target: str, options: tuple[str, ...], message: str
) -> None:
    assert message in refusal("manifest", "--target", target, *TEACHER, *INPUTS, *options)


def test_what_the_step_needs_is_asked_for() -> None:
    said = refusal("manifest", "--target", "vertex", *TEACHER, *INPUTS[:2])
    assert said == "--input: train_teacher also needs items_model; add --input items_model=PATH"


@pytest.mark.parametrize("step", STEPS)
def test_every_option_of_the_command_is_an_argument_of_the_step(step: str) -> None:
    component = getattr(importlib.import_module(f"components.{step}.component"), step)
    run = importlib.import_module(f"components.{step}.step").run
    arguments = dict(list(inspect.signature(run).parameters.items())[1:])
    ports = component.component_spec
    assert set(arguments) == set(ports.inputs) | set(ports.outputs)
    lists = {name for name, port in ports.inputs.items() if port.is_artifact_list}
    assert lists == {n for n, argument in arguments.items() if argument.annotation == list[str]}
