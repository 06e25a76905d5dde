"""`python -m pipeline schedule …`: runs of the compiled pipeline at set times."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from pipeline.submission import options
from pipeline.submission.bundle import NAME
from pipeline.submission.groups import grouped
from pipeline.terminal import line_console, print_json, table_console

app = typer.Typer(
    no_args_is_help=True,
    help="Runs at set times on Kubeflow Pipelines or Vertex AI. "
    "Example: python -m pipeline schedule list --target kfp --host http://localhost:8080",
)
Which = Annotated[str, typer.Argument(help="Name or id of a schedule in 'schedule list'.")]


@app.command()
@grouped
def create(
    connection: options.Connection,
    work: options.Work,
    name: Annotated[str, typer.Option(help="The schedule's name.")],
    cron: Annotated[
        str,
        typer.Option(
            help="Minute, hour, day, month, weekday: '0 5 * * 1-5'; for Kubeflow a second may stand "
            "before them. A field holds *, a number, a range, a list or a step."
        ),
    ],
    time_zone: Annotated[
        str,
        typer.Option(
            help="Zone of --cron. Kubeflow keeps one for the whole cluster, CRON_SCHEDULE_TIMEZONE of "
            "its controller: name that one."
        ),
    ] = "UTC",
    dry_run: options.Dry = False,
    as_json: options.AsJson = False,
) -> None:
    """Create a schedule: one run at a time, and missed ones stay missed.

    The same schedule a second time changes nothing.

    Example: python -m pipeline schedule create --target vertex --project shop
    --location europe-west4 --staging gs://shop/slmrec --name nightly --cron "0 5 * * *"
    --time-zone Europe/Berlin --interactions gs://shop/log/ --registry gs://shop/models --image …
    """
    from pipeline.submission.cron import kubeflow_cron, vertex_cron
    from pipeline.submission.prepare import bundle_for, warn_of_tag
    from pipeline.submission.target import check_name
    from pipeline.submission.transport import DryRun

    check_name(name)
    times = (kubeflow_cron if connection.to is options.Service.KFP else vertex_cron)(
        cron, time_zone
    )
    following = times.following(datetime.now(UTC))
    bundle = bundle_for(connection.to, work, started="")
    dry = DryRun() if dry_run else None
    target = connection.target(work.staging, dry)
    warn_of_tag(work.image)
    made = target.create_schedule(bundle, work.job(NAME), name, times)
    if dry is not None:
        made = {"requests": dry.requests}
    if dry is not None or as_json:
        print_json({**made, "next": [time.isoformat() for time in following]})
        return
    console = line_console()
    if made["created"]:
        console.print(f"created schedule '{name}', {made['id']}\n{made['link']}")
    else:
        paused = "; it is paused, 'schedule resume' starts it" if made["paused"] else ""
        console.print(f"schedule '{name}' is there already, unchanged{paused}")
    console.print(f"next runs ({time_zone}):")
    for time in following:
        console.print(f"  {time:%a %Y-%m-%d %H:%M:%S %z}")
    if connection.to is options.Service.KFP:
        console.print("  if that is the zone of the cluster's scheduled-workflow controller")


@app.command(name="list")
@grouped
def list_(
    connection: options.Connection,
    as_json: options.AsJson = False,
) -> None:
    """List the schedules of this pipeline.

    Example: python -m pipeline schedule list --target kfp --host http://localhost:8080
    """
    found = connection.target().schedules()
    if as_json:
        print_json([asdict(schedule) for schedule in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "state", "cron", "version", "id"):
        table.add_column(heading, overflow="fold")
    for one in found:
        state = "paused" if one.paused else "active"
        table.add_row(one.name, state, one.cron, one.version, one.id)
    table_console().print(table if found else "no schedules")


@app.command()
@grouped
def pause(
    which: Which,
    connection: options.Connection,
) -> None:
    """Start no more runs of a schedule until it is resumed; runs that go on are not stopped.

    Example: python -m pipeline schedule pause nightly --target kfp --host http://localhost:8080
    """
    _change("paused", connection, which)


@app.command()
@grouped
def resume(
    which: Which,
    connection: options.Connection,
) -> None:
    """Start runs of a schedule again; those that were missed stay missed.

    Example: python -m pipeline schedule resume nightly --target kfp --host http://localhost:8080
    """
    _change("resumed", connection, which)


@app.command()
@grouped
def delete(
    which: Which,
    connection: options.Connection,
) -> None:
    """Delete a schedule; its runs and the pipeline's versions stay.

    Example: python -m pipeline schedule delete nightly --target kfp --host http://localhost:8080
    """
    _change("deleted", connection, which)


def _change(done: str, connection: options.Connection, which: str) -> None:
    from pipeline.submission.target import find_schedule

    target = connection.target()
    schedule = find_schedule(target, which)
    {"paused": target.pause, "resumed": target.resume, "deleted": target.delete}[done](schedule)
    console = line_console()
    console.print(f"{done} schedule '{schedule.name}', {schedule.id}")
