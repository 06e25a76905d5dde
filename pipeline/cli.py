"""The command line. Heavy imports stay inside the verbs, so that a wrong flag is told at once."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline import datasets, registry, schedule, study
from pipeline.build_image import build_image
from pipeline.dashboard import dashboard
from pipeline.fetch import fetch
from pipeline.manifest import manifest
from pipeline.parameters import SAMPLE
from pipeline.paths import PIPELINE_FILE
from pipeline.recommend import recommend
from pipeline.release import release
from pipeline.sizing import resources
from pipeline.submit import submit
from pipeline.terminal import INTERRUPTED, line_console, print_json, table_console
from pipeline.trigger import trigger
from slmrec.errors import ConfigError, GateRefusal, SlmrecError, disk_trouble

app = typer.Typer(
    # Shells complete a name; `python -m pipeline` is none, the script `slmrec` is.
    add_completion=Path(sys.argv[0]).name == "slmrec",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From an interaction log to a small, fast sequential recommender, kept fresh. "
    "Example: python -m pipeline run --interactions ratings.csv --items movies.csv",
)


def main() -> None:
    """Run the command line; errors raised on purpose become one message and an exit code."""
    try:
        app()
    except SlmrecError as error:
        line_console(stderr=True).print(f"error: {error}", style="red")
        sys.exit(error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        told = disk_trouble(error) or f"{place}{error.strerror or error}"
        line_console(stderr=True).print(f"error: {told}", style="red")
        sys.exit(SlmrecError.exit_code)


@app.command()
def run(
    interactions: Annotated[
        str,
        typer.Option(
            help="Interaction log: a file, a directory, a glob, the same with gs://, or "
            "sample:users=…,items=…"
        ),
    ] = SAMPLE,
    items: Annotated[str, typer.Option(help="Item titles and categories; optional.")] = "",
    format: Annotated[
        str,
        typer.Option(
            help="csv, tsv, parquet, jsonl, movielens, amazon-2014, amazon-2018, recbole, "
            "sequences-txt or auto; same as --set ingest_interactions.format=…"
        ),
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            help="Settings file; default: configs/sample.yaml for the sample, "
            "configs/default.yaml for files."
        ),
    ] = None,
    set_: Annotated[
        list[str], typer.Option("--set", help="One setting, STEP.KEY=VALUE; repeatable.")
    ] = [],  # noqa: B006 - typer wants a list
    home: Annotated[Path, typer.Option(help="Where runs, cache and registry live.")] = Path("var"),
    registry_place: registry.Place = "",
    runner: Annotated[
        Literal["subprocess", "docker"],
        typer.Option(help="What each step runs in: a process here, or a container."),
    ] = "subprocess",
    image: Annotated[
        str,
        typer.Option(help="For --runner docker; default: what 'make images' made of this code."),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Train even without a reason.")] = False,
    require_promotion: Annotated[
        bool,
        typer.Option(
            "--require-promotion",
            help="Exit with 5 when the gates refuse, or a person has taken that model back.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print summary.json instead of tables.")
    ] = False,
) -> None:
    """Run the whole DAG on this machine.

    Example: python -m pipeline run --interactions ratings.csv --items movies.csv
    """
    from pipeline.parameters import chosen_settings, config_parameters
    from pipeline.sources import absolute, check_source

    settings = chosen_settings(interactions, config, set_, format)
    for source in filter(None, (interactions, items)):
        check_source(source)
    if not PIPELINE_FILE.exists():
        raise ConfigError(f"{PIPELINE_FILE}: not there; run 'python -m pipeline compile'")
    if image and runner != "docker":
        raise ConfigError(f"--image {image}: only containers have an image; add --runner docker")

    from pipeline.console import RunDisplay, print_summary
    from pipeline.containers import Containers
    from pipeline.home import Home
    from pipeline.local import run_pipeline
    from pipeline.runners import Subprocesses
    from pipeline.summary import summarise
    from slmrec.artifacts import write_json
    from slmrec.registry.store import Registry

    steps = Containers(image) if runner == "docker" else Subprocesses()
    place = Home(home, registry_place)
    place.path.mkdir(parents=True, exist_ok=True)
    parameters = {
        "interactions": absolute(interactions),
        "items": absolute(items) if items else "",
        "force": force,
        **config_parameters(settings),
    }
    # Bound to today's standard output: the engine's own prints are redirected to a log meanwhile.
    out = sys.stderr if as_json else sys.stdout
    console = table_console(out)
    try:
        with RunDisplay(console, parameters) as display:
            record = run_pipeline(place, parameters, display.on_event, runner=steps)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on after the last finished step")
        raise typer.Exit(INTERRUPTED) from None
    summary = summarise(record, Registry(place.registry))
    write_json(record.folder / "summary.json", summary)
    if as_json:
        print_json(summary)
    else:
        print_summary(console, summary)
    refused = [gate["name"] for gate in summary["gates"] if not gate["passed"]]
    if require_promotion and summary["promoted"] is None and summary["gates"]:
        if refused:
            raise GateRefusal(f"not promoted; refused by: {', '.join(refused)}")
        if summary["promotion"].startswith("refused"):  # of a model that somebody took back
            raise GateRefusal(f"not promoted; {summary['promotion']}")


@app.command(name="compile")
def compile_(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when pipeline.yaml is stale.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Where to write.")] = PIPELINE_FILE,
) -> None:
    """Compile the DAG to pipeline.yaml.

    Example: python -m pipeline compile --check
    """
    from pipeline.compile import compile_pipeline

    compiled = compile_pipeline()
    if not check:
        output.write_text(compiled, encoding="utf-8")
        line_console().print(f"wrote {output}")
        return
    found = output.read_text(encoding="utf-8") if output.exists() else ""
    if found != compiled:
        raise ConfigError(f"{output}: stale; run 'make compile' and commit the result")
    line_console().print(f"{output.name} is what the DAG compiles to")


@app.command()
def doctor(
    home: Annotated[Path, typer.Option(help="Where runs, cache and registry live.")] = Path("var"),
) -> None:
    """Say what this machine has and lacks; exit with 2 when the pipeline cannot run.

    Example: python -m pipeline doctor
    """
    from pipeline.doctor import examine, print_findings

    findings = examine(home)
    print_findings(table_console(), findings)
    if any(finding.needed and not finding.good for finding in findings):
        raise ConfigError("the pipeline cannot run here; see the lines marked ✗ above")


app.command()(recommend)
app.command()(dashboard)
app.add_typer(registry.app, name="registry")
app.add_typer(datasets.app, name="datasets")
study.app.command()(resources)
app.add_typer(study.app, name="study")
app.command()(submit)
app.add_typer(schedule.app, name="schedule")
app.command()(trigger)
app.command()(fetch)
app.command()(manifest)
app.command()(build_image)
app.command()(release)
