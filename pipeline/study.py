"""`python -m pipeline study …`: what distillation, its terms, depth and compression are worth.

Data steps and study run in processes of their own, so this one loads nothing heavy, torch least of all.
"""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.events import EventReader
from pipeline.local import StepFailedError
from pipeline.parameters import SAMPLE, chosen_settings, settings_digest
from pipeline.paths import ROOT
from pipeline.runners import steps_end_with_us
from pipeline.sources import absolute, check_source
from pipeline.terminal import INTERRUPTED, print_json, table_console
from slmrec.artifacts import MANIFEST
from slmrec.errors import ConfigError, SlmrecError
from slmrec.processes import end_children
from slmrec.studies.job import Job, Name
from slmrec.studies.variants import VARIANTS, choose_variants

app = typer.Typer(
    no_args_is_help=True,
    help="Measure what distillation, each of its terms, depth and the certificate are worth on a log. "
    "Example: python -m pipeline study ablation --interactions ratings.csv --seeds 5",
)
FOLDER = Path("var/studies")

Interactions = Annotated[
    str, typer.Option(help="Interaction log, as for 'run': a file, a folder, gs://…, or sample:")
]
Items = Annotated[str, typer.Option(help="Item titles and categories; optional.")]
Format = Annotated[str, typer.Option(help="Reader of the log, as for 'run'.")]
Config = Annotated[
    Path | None, typer.Option(help="Settings file; default for files: configs/study.yaml.")
]
RunConfig = Annotated[
    Path | None, typer.Option(help="Settings file; default for files: configs/default.yaml.")
]
Settings = Annotated[
    list[str], typer.Option("--set", help="One setting, STEP.KEY=VALUE; repeatable.")
]
Seeds = Annotated[int, typer.Option(min=1, help="Trainings of each variant.")]
Output = Annotated[
    Path | None,
    typer.Option(
        help="Folder for README.md, results.json and figure.svg; default: var/studies/NAME.",
        file_okay=False,
    ),
]
Work = Annotated[
    Path | None,
    typer.Option(
        help="Folder of finished trainings, which are not repeated while data and settings stay; "
        "studies may share one. Training code that changed needs another. Default: OUTPUT/work, "
        "which git ignores.",
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print results.json instead of findings.")]


@dataclass(frozen=True)
class Request:
    """What all studies are asked alike."""

    interactions: str
    items: str
    format: str
    config: Path | None
    overrides: list[str]
    seeds: int | None
    """None for a study that is done once."""
    output: Path | None
    work: Path | None
    as_json: bool


@app.command()
def depth(
    interactions: Interactions = SAMPLE,
    items: Items = "",
    format: Format = "",
    config: Config = None,
    set_: Settings = [],  # noqa: B006 - typer wants a list
    depths: Annotated[str, typer.Option(help="Numbers of layers, ascending.")] = "1,2,4,8",
    seeds: Seeds = 3,
    output: Output = None,
    work: Work = None,
    as_json: AsJson = False,
) -> None:
    """Quality against the number of layers: trained at that depth, and the deepest cut to it.

    Example: python -m pipeline study depth --interactions ratings.csv --depths 1,2,4,8,16
    """
    request = Request(interactions, items, format, config, set_, seeds, output, work, as_json)
    _study("depth", request, {"depths": _depths(depths)}, ["--depths", depths])


@app.command()
def ablation(
    interactions: Interactions = SAMPLE,
    items: Items = "",
    format: Format = "",
    config: Config = None,
    set_: Settings = [],  # noqa: B006 - typer wants a list
    variants: Annotated[
        str, typer.Option(help=f"Some of {', '.join(VARIANTS)}; default: all.")
    ] = "",
    seeds: Seeds = 3,
    output: Output = None,
    work: Work = None,
    as_json: AsJson = False,
) -> None:
    """What each term of the distillation is worth against no distillation at all.

    Example: python -m pipeline study ablation --interactions ratings.csv --variants +cosine,all
    """
    request = Request(interactions, items, format, config, set_, seeds, output, work, as_json)
    chosen = {"variants": choose_variants(variants)}
    _study("ablation", request, chosen, ["--variants", variants] if variants else [])


@app.command()
def certificate(
    interactions: Interactions = SAMPLE,
    items: Items = "",
    format: Format = "",
    config: Config = None,
    set_: Settings = [],  # noqa: B006 - typer wants a list
    seeds: Seeds = 3,
    output: Output = None,
    work: Work = None,
    as_json: AsJson = False,
) -> None:
    """For how many people the student provably recommends first what its teacher does.

    Example: python -m pipeline study certificate --interactions ratings.csv
    """
    request = Request(interactions, items, format, config, set_, seeds, output, work, as_json)
    _study("certificate", request, {}, [])


@app.command()
def distillation(
    interactions: Interactions = SAMPLE,
    items: Items = "",
    format: Format = "",
    config: RunConfig = None,
    set_: Settings = [],  # noqa: B006 - typer wants a list
    seeds: Seeds = 3,
    output: Output = None,
    work: Work = None,
    as_json: AsJson = False,
) -> None:
    """Whether the student is better than the same model without a teacher, in whole runs.

    Takes the settings of 'run' and any kind of teacher.
    Example: python -m pipeline study distillation --interactions ratings.csv
    """
    request = Request(interactions, items, format, config, set_, seeds, output, work, as_json)
    _study("distillation", request, {}, [], settings_file="default.yaml")


@app.command()
def compression(
    interactions: Interactions = SAMPLE,
    items: Items = "",
    format: Format = "",
    config: RunConfig = None,
    set_: Settings = [],  # noqa: B006 - typer wants a list
    output: Output = None,
    work: Work = None,
    as_json: AsJson = False,
) -> None:
    """What pruning and quantization cost in quality and give in size and speed, alone and together.

    Takes the settings of 'run'. Times every model, so leave the machine to it.
    Example: python -m pipeline study compression --interactions ratings.csv
    """
    request = Request(interactions, items, format, config, set_, None, output, work, as_json)
    _study("compression", request, {}, [], settings_file="default.yaml")


def _study(
    name: Name,
    request: Request,
    options: dict[str, Any],
    words: list[str],
    settings_file: str = "study.yaml",
) -> None:
    settings = chosen_settings(
        request.interactions, request.config, request.overrides, request.format, settings_file
    )
    for source in filter(None, (request.interactions, request.items)):
        check_source(source)

    from pipeline.console import RunDisplay
    from pipeline.study_data import sequences_place

    output = request.output or FOLDER / name
    work = request.work or output / "work"
    if not work.exists():  # a folder that is there already has its own
        work.mkdir(parents=True)
        (work / ".gitignore").write_text("*\n", encoding="utf-8")
    events, log = work / f"{name}-events.jsonl", work / f"{name}.log"
    for outdated in (events, log):
        outdated.unlink(missing_ok=True)
    interactions = absolute(request.interactions)
    items = absolute(request.items) if request.items else ""
    job = Job(
        study=name,
        data=_data_name(request.interactions),
        sequences=sequences_place(work, settings, interactions, items),
        output=output,
        work=work,
        events=events,
        config=settings,
        settings_digest=settings_digest(settings),
        command=_command(name, request, words),
        seeds=request.seeds or 1,
        **options,
    )
    out = sys.stderr if request.as_json else sys.stdout
    console = table_console(out)
    try:
        with (
            RunDisplay(console, {"interactions": request.interactions}, f"study {name}") as display,
            EventReader(events, display.on_event) as reader,
        ):
            if not (job.sequences / MANIFEST).exists():
                _run(job, reader, "pipeline.study_data", interactions, items)
            _run(job, reader, "slmrec.studies")
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on after the last finished training")
        raise typer.Exit(INTERRUPTED) from None
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    if request.as_json:
        print_json(results)
        return
    for sentence in results["findings"]:
        console.print(sentence, soft_wrap=True)
    console.print(f"  page      {output / 'README.md'}", soft_wrap=True)


def _run(job: Job, reader: EventReader, module: str, *arguments: str) -> None:
    """Call a module with the job, in a process of its own; raise what it failed with."""
    description = job.work / f"{job.study}-job.json"
    description.write_text(job.to_json(), encoding="utf-8")
    log = job.work / f"{job.study}.log"
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    with (
        log.open("ab") as stream,
        steps_end_with_us(end_children, lambda child: str(description) in child.cmdline()),
    ):
        finished = subprocess.run(  # noqa: S603 a command of ours
            [sys.executable, "-m", module, str(description), *arguments],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
    if finished.returncode:
        reader.drain()
        failed = reader.failure
        message = failed["message"] if failed else "ended without a word"
        code = int(failed["exit_code"]) if failed else SlmrecError.exit_code
        step = failed["step"] if failed else f"study {job.study}"
        raise StepFailedError(step, message, code, log)


def _depths(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    depths = tuple(int(word) for word in words if word.isdecimal())
    if len(depths) < max(len(words), 2) or 0 in depths or list(depths) != sorted(set(depths)):
        raise ConfigError(
            f"--depths: found '{text}', expected two or more numbers of layers, ascending, like 1,2,4"
        )
    return depths


def _data_name(interactions: str) -> str:
    return interactions if interactions.startswith(SAMPLE) else Path(interactions).name


def _command(name: str, request: Request, words: list[str]) -> str:
    """What gives the same files again; where they are written does not change them."""
    named = {
        "--interactions": request.interactions,
        "--items": request.items,
        "--format": request.format,
        "--config": str(request.config) if request.config else "",
    }
    options = [part for option, value in named.items() if value for part in (option, value)]
    overrides = [part for setting in request.overrides for part in ("--set", setting)]
    seeds = ["--seeds", str(request.seeds)] if request.seeds else []
    return shlex.join(
        [
            *("python", "-m", "pipeline", "study", name),
            *(*options, *overrides, *words, *seeds),
        ]
    )
