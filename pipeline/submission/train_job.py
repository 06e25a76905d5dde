"""A Kubeflow Trainer `TrainJob`: `kubectl create -f` starts it."""

from typing import Any

from pipeline.submission.training_job import RUN_STEP, TrainingJob
from slmrec.errors import ConfigError

API_VERSION = "trainer.kubeflow.org/v1alpha1"
NODE = "node"
"""What Trainer's own runtimes call the job of the nodes, and its container."""


def train_job(job: TrainingJob, *, runtime: str, claim: str, mount: str) -> dict[str, Any]:
    """The manifest; the volume of `claim`, where one is named, is mounted at `mount` on every node.

    `runtime` is a `ClusterTrainingRuntime` with a policy for torch: it tells `torchrun` by variables
    how many nodes there are, which this is and where the first one answers.

    Raises `ConfigError` for an accelerator that Kubernetes would not know.
    """
    amounts = {"cpu": f"{job.allowed.cpu:g}", "memory": f"{job.allowed.memory_gb:g}G"}
    if job.allowed.accelerators:
        if "/" not in job.allowed.accelerator:
            raise ConfigError(
                f"--accelerator {job.allowed.accelerator}: expected a resource of Kubernetes such as "
                "nvidia.com/gpu"
            )
        amounts[job.allowed.accelerator] = str(job.allowed.accelerators)
    patches = _patches(job, claim, mount)
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainJob",
        "metadata": {"name": job.name, "labels": {"app.kubernetes.io/part-of": "slmrec"}},
        "spec": {
            "runtimeRef": {"name": runtime},
            "activeDeadlineSeconds": job.deadline_seconds,
            "trainer": {
                "image": job.image,
                "command": ["python3", "-m", "torch.distributed.run", "-m", RUN_STEP],
                "args": list(job.arguments),
                "numNodes": job.nodes,
                "numProcPerNode": job.processes,
                # Requests, too: where they are missing, Trainer starts one process a node.
                "resourcesPerNode": {"limits": amounts, "requests": dict(amounts)},
                "env": [{"name": key, "value": value} for key, value in job.environment.items()],
            },
            **({"runtimePatches": patches} if patches else {}),
        },
    }


def _patches(job: TrainingJob, claim: str, mount: str) -> list[dict[str, Any]]:
    """What the pods have that the runtime does not say."""
    volumes: list[dict[str, Any]] = []
    mounts = []
    if claim:
        volumes.append({"name": "shared", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": "shared", "mountPath": mount})
    if job.allowed.accelerators and job.processes > 1:
        # GPUs of one node talk through shared memory, of which a pod has 64 MB.
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108
    pod: dict[str, Any] = {}
    if volumes:
        pod = {"volumes": volumes, "containers": [{"name": NODE, "volumeMounts": mounts}]}
    if job.service_account:
        pod["serviceAccountName"] = job.service_account
    if not pod:
        return []
    jobs = [{"name": NODE, "template": {"spec": {"template": {"spec": pod}}}}]
    template = {"spec": {"replicatedJobs": jobs}}
    return [{"manager": "slmrec.pipeline/manifest", "trainingRuntimeSpec": {"template": template}}]
