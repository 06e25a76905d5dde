"""`python -m pipeline submit`: one run on Kubeflow Pipelines or Vertex AI."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.parameters import SAMPLE
from pipeline.submission import options
from pipeline.submission.bundle import NAME

Interactions = Annotated[
    str, typer.Option(help="Interaction log: gs://…, a path in a mounted volume, or sample:…")
]
Items = Annotated[str, typer.Option(help="Item titles and categories; optional.")]
Format = Annotated[
    str, typer.Option(help="Format of the log; same as --set ingest_interactions.format=…")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings file; default: as for 'run'.")
]
Set = Annotated[list[str], typer.Option("--set", help="One setting, STEP.KEY=VALUE; repeatable.")]
RegistryPlace = Annotated[
    str,
    typer.Option("--registry", help="The models' registry: gs://… or a path in a mounted volume."),
]
Force = Annotated[bool, typer.Option("--force", help="Train even without a reason.")]


def submit(
    to: options.To,
    interactions: Interactions = SAMPLE,
    items: Items = "",
    format: Format = "",
    config: ConfigFile = None,
    set_: Set = [],  # noqa: B006 - typer wants a list
    registry_place: RegistryPlace = "",
    force: Force = False,
    image: options.Image = "",
    deployment: options.DeploymentFile = None,
    experiment: options.Experiment = NAME,
    root: options.Root = "",
    service_account: options.ServiceAccount = "",
    host: options.Host = "",
    namespace: options.Namespace = "",
    token_file: options.TokenFile = None,
    project: options.Project = "",
    location: options.Location = "",
    staging: options.Staging = "",
    endpoint: options.Endpoint = "",
    dry_run: options.Dry = False,
    as_json: options.AsJson = False,
) -> None:
    """Run the compiled pipeline once on Kubeflow Pipelines or Vertex AI.

    Example: python -m pipeline submit --target kfp --host http://localhost:8080
    --interactions gs://shop/log/ --registry gs://shop/models --image ghcr.io/shop/slmrec@sha256:…
    """
    from pipeline.parameters import chosen_settings
    from pipeline.submission.prepare import bundle_for, remote_parameters, warn_of_tag
    from pipeline.submission.target import Job
    from pipeline.submission.transport import DryRun

    now = datetime.now(UTC)
    parameters = remote_parameters(
        to,
        chosen_settings(interactions, config, set_, format),
        interactions=interactions,
        items=items,
        registry=registry_place,
        force=force,
        started=now.isoformat(timespec="seconds"),
    )
    bundle = bundle_for(to, parameters, image, deployment)
    connection = options.Connection(
        to, host, namespace, token_file, project, location, staging, endpoint
    )
    job = Job(f"{NAME}-{now:%Y%m%d-%H%M%S-%f}", experiment, service_account, root)
    dry = DryRun() if dry_run else None
    target = connection.target(dry)
    warn_of_tag(image)
    made = target.submit(bundle, job)
    if dry is not None:
        made = {"requests": dry.requests}
    if dry is not None or as_json:
        print(json.dumps(made, indent=1, ensure_ascii=False))
        return
    state = "uploaded" if made["uploaded"] else "was there already"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"pipeline {NAME}, version {made['version']}: {state}", markup=False)
    console.print(f"run {made['run']}\n{made['link']}", markup=False)
