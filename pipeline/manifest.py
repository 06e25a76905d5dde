"""`python -m pipeline manifest`: a training step on several machines, as the cluster wants it said."""

import re
from enum import StrEnum
from typing import Annotated

import typer
import yaml

from components.run_step import STEPS
from pipeline.submission import options
from pipeline.submission.options import ConfigFile, Set
from slmrec.errors import ConfigError
from slmrec.visible import hidden, visible_json

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_RUNTIME = "torch-distributed"
"""What Kubeflow Trainer installs."""
_BUCKETS = "/gcs"
"""Where Vertex shows buckets as folders, on every machine."""


class Launcher(StrEnum):
    """What starts the machines."""

    TRAINJOB = "trainjob"
    VERTEX = "vertex"


TrainingStep = StrEnum("TrainingStep", {name.upper(): name for name in STEPS})  # type: ignore[misc]
"""The steps that several machines can do together."""


def manifest(
    launcher: Annotated[
        Launcher,
        typer.Option("--target", help="Kubeflow Trainer's TrainJob or Vertex's CustomJob."),
    ],
    step: Annotated[TrainingStep, typer.Option(help="The training step.")],
    image: Annotated[
        str, typer.Option(help="The step's image, NAME@sha256:DIGEST; a tag may move.")
    ],
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input", help="What the step reads, PORT=PATH on shared storage; repeatable."
        ),
    ],
    output: Annotated[str, typer.Option(help="Where the model goes, on shared storage.")],
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 2,
    processes: Annotated[
        int, typer.Option(min=0, help="Processes a machine; default: one an accelerator, else one.")
    ] = 0,
    accelerator: Annotated[
        str, typer.Option(help="nvidia.com/gpu or, on Vertex, NVIDIA_L4; default: resources.yaml.")
    ] = "",
    accelerators: Annotated[
        int, typer.Option(min=0, help="Of them, a machine; default: resources.yaml.")
    ] = 0,
    config: ConfigFile = None,
    set_: Set = [],  # noqa: B006 - typer wants a list
    checkpoints: Annotated[
        str, typer.Option(help="Folder on shared storage from which a job begun again goes on.")
    ] = "",
    name: Annotated[str, typer.Option(help="The job's name; default: slmrec-STEP.")] = "",
    volume: Annotated[
        str, typer.Option(help="trainjob: CLAIM:PATH, the volume all nodes share and where.")
    ] = "",
    runtime: Annotated[
        str,
        typer.Option(help=f"trainjob: the training runtime, one for torch; default: {_RUNTIME}."),
    ] = "",
    machine_type: Annotated[
        str, typer.Option(help="vertex: default: the smallest E2 that holds resources.yaml.")
    ] = "",
    service_account: options.ServiceAccount = "",
) -> None:
    """Print the manifest of one training step on several machines.

    Example: python -m pipeline manifest --target trainjob --step train_teacher --nodes 2
    --accelerator nvidia.com/gpu --accelerators 4 --image ghcr.io/shop/slmrec@sha256:…
    --volume models:/models --input sequences=/models/sequences --input items_model=/models/sasrec
    --output /models/teacher | kubectl create -f -
    """
    from pipeline.parameters import chosen_settings
    from pipeline.resources import load_resources
    from pipeline.submission.bundle import check_image
    from pipeline.submission.custom_job import custom_job
    from pipeline.submission.prepare import warn_of_tag
    from pipeline.submission.train_job import train_job
    from pipeline.submission.training_job import TrainingJob, check_shared, step_arguments

    check_image("--image", image)
    name = name or f"slmrec-{step.replace('_', '-')}"
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name}: expected at most 63 lower-case letters, digits and hyphens, a letter first"
        )
    claim, shared = _shared_place(launcher, volume)
    if checkpoints:
        check_shared("--checkpoints", checkpoints, shared)
    allowed = load_resources().of(step)
    if bool(accelerator) != bool(accelerators):
        raise ConfigError(
            f"--accelerator '{accelerator}' --accelerators {accelerators}: expected both or neither"
        )
    if accelerator:
        allowed = allowed.model_copy(
            update={"accelerator": accelerator, "accelerators": accelerators}
        )
    processes = processes or allowed.accelerators or 1
    if allowed.accelerators and processes > allowed.accelerators:
        raise ConfigError(
            f"--processes {processes}: each needs an accelerator of its own, and a machine has "
            f"{allowed.accelerators}; ask for fewer processes or more --accelerators"
        )
    section = getattr(chosen_settings("", config, set_), step)
    job = TrainingJob(
        name=name,
        step=str(step),
        image=image,
        nodes=nodes,
        processes=processes,
        allowed=allowed,
        arguments=step_arguments(str(step), inputs, output, section.to_json(), shared),
        checkpoints=checkpoints,
        service_account=service_account,
    )
    if launcher is Launcher.VERTEX:
        if runtime:
            raise ConfigError(f"--runtime {runtime}: only for --target trainjob; leave it out")
        made = visible_json(custom_job(job, machine_type=machine_type), indent=1)
    else:
        if machine_type:
            raise ConfigError("--machine-type: only for --target vertex; leave it out")
        made_of = train_job(job, runtime=runtime or _RUNTIME, claim=claim, mount=shared)
        made = yaml.safe_dump(made_of, sort_keys=False, allow_unicode=True)
        if hidden(made):
            made = yaml.safe_dump(made_of, sort_keys=False)  # as YAML's own escapes
    warn_of_tag(image)
    print(made.rstrip())


def _shared_place(launcher: Launcher, volume: str) -> tuple[str, str]:
    """The claim of the volume, or none, and the folder that all machines see."""
    if launcher is Launcher.VERTEX:
        if volume:
            raise ConfigError(f"--volume {volume}: only for --target trainjob; Vertex has /gcs/")
        return "", _BUCKETS
    if not volume:
        return "", "/"  # the runtime mounts what it mounts
    claim, _, path = volume.partition(":")
    if not _CLAIM.fullmatch(claim) or not path.startswith("/") or path == "/":
        raise ConfigError(
            f"--volume {volume}: expected CLAIM:/PATH, a PersistentVolumeClaim and where it is mounted"
        )
    return claim, path
