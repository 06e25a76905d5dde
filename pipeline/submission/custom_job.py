"""A Vertex AI `CustomJob` of worker pools: the body of `POST …/customJobs`."""

import re
from typing import Any

from pipeline.resources import StepResources
from pipeline.submission.training_job import RUN_STEP, TrainingJob
from slmrec.errors import ConfigError

NODES = "slmrec.training.nodes"
"""The module that starts `torchrun` from what Vertex tells a machine."""
_GIB = 1024**3
_FAMILIES = (("e2-standard", 4, (4, 8, 16, 32)), ("e2-highmem", 8, (2, 4, 8, 16)))
"""Machine types for training without accelerators: family, GiB a core, cores."""
_ACCELERATOR = re.compile(r"[A-Z][A-Z0-9_]+")


def custom_job(job: TrainingJob, *, machine_type: str) -> dict[str, Any]:
    """The job: the first machine is a pool of its own, as Vertex has it, the others are the second.

    An empty `machine_type` is the smallest general one that holds what the step is allowed. Raises
    `ConfigError` where none does, and for an accelerator that Vertex would not know.
    """
    machine: dict[str, Any] = {"machineType": machine_type or smallest_machine(job.allowed)}
    if job.allowed.accelerators:
        if not _ACCELERATOR.fullmatch(job.allowed.accelerator):
            raise ConfigError(
                f"--accelerator {job.allowed.accelerator}: expected a name of Vertex such as NVIDIA_L4"
            )
        machine["acceleratorType"] = job.allowed.accelerator
        machine["acceleratorCount"] = job.allowed.accelerators
    container = {
        "imageUri": job.image,
        "command": ["python3", "-m", NODES],
        "args": [str(job.processes), RUN_STEP, *job.arguments],
        "env": [{"name": key, "value": value} for key, value in job.environment.items()],
    }
    counts = [1, job.nodes - 1] if job.nodes > 1 else [1]
    pools = [
        {"machineSpec": machine, "replicaCount": str(count), "containerSpec": container}
        for count in counts
    ]
    account = {"serviceAccount": job.service_account} if job.service_account else {}
    return {
        "displayName": job.name,
        "labels": {"slmrec-step": job.step},
        "jobSpec": {
            "workerPoolSpecs": pools,
            "scheduling": {"timeout": f"{job.deadline_seconds}s"},
            **account,
        },
    }


def smallest_machine(allowed: StepResources) -> str:
    """The smallest general machine type that holds a step. Raises `ConfigError` where none does."""
    if allowed.accelerators:
        raise ConfigError(
            f"--machine-type: missing; name one that {allowed.accelerator} can be attached to, such as "
            "g2-standard-24 or n1-standard-16"
        )
    fitting = [
        (cores, each, f"{family}-{cores}")
        for family, each, sizes in _FAMILIES
        for cores in sizes
        if cores >= allowed.cpu and cores * each * _GIB >= allowed.memory_gb * 1e9
    ]
    if not fitting:
        raise ConfigError(
            f"--machine-type: missing; no machine of {' or '.join(f[0] for f in _FAMILIES)} has "
            f"{allowed.cpu:g} cores and {allowed.memory_gb:g} GB, so name another"
        )
    return min(fitting)[2]
