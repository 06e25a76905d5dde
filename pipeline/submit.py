"""`python -m pipeline submit`: one run on Kubeflow Pipelines or Vertex AI."""

from datetime import UTC, datetime

from pipeline.submission import options
from pipeline.submission.bundle import NAME
from pipeline.submission.groups import grouped
from pipeline.terminal import line_console, print_json


@grouped
def submit(
    connection: options.Connection,
    work: options.Work,
    dry_run: options.Dry = False,
    as_json: options.AsJson = False,
) -> None:
    """Run the compiled pipeline once on Kubeflow Pipelines or Vertex AI.

    Example: python -m pipeline submit --target kfp --host http://localhost:8080
    --interactions gs://shop/log/ --registry gs://shop/models --image ghcr.io/shop/slmrec@sha256:…
    """
    from pipeline.submission.prepare import bundle_for, warn_of_tag
    from pipeline.submission.transport import DryRun

    now = datetime.now(UTC)
    bundle = bundle_for(connection.to, work, now.isoformat(timespec="seconds"))
    dry = DryRun() if dry_run else None
    target = connection.target(work.staging, dry)
    warn_of_tag(work.image)
    made = target.submit(bundle, work.job(f"{NAME}-{now:%Y%m%d-%H%M%S-%f}"))
    if dry is not None:
        made = {"requests": dry.requests}
    if dry is not None or as_json:
        print_json(made)
        return
    state = "uploaded" if made["uploaded"] else "was there already"
    console = line_console()
    console.print(f"pipeline {NAME}, version {made['version']}: {state}")
    console.print(f"run {made['run']}\n{made['link']}")
