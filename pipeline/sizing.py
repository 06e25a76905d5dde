"""`python -m pipeline study resources`: sizes of the steps from what a run took."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline.paths import RESOURCES_FILE
from pipeline.resources import Resources, StepResources, load_resources, step_names
from pipeline.terminal import print_json, table_console
from slmrec.errors import ConfigError

MEMORY_MARGIN = 1.5
"""Times the peak: pages of files and the next week's growth."""
TIME_MARGIN = 5.0
"""Times the seconds: a busy machine takes twice as long, and a hung step is no hurry."""
_LEAST_MINUTES = 30
_STEP_MINUTES = 10


def resources(
    home: Annotated[Path, typer.Option(help="Where runs live.")] = Path("var"),
    run: Annotated[str, typer.Option(help="Which run; default: the newest that trained.")] = "",
    file: Annotated[Path, typer.Option(help="The steps' limits.")] = RESOURCES_FILE,
    write: Annotated[
        bool, typer.Option("--write", help="Put what is proposed into the file; then compile.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what is proposed as JSON.")
    ] = False,
) -> None:
    """Propose memory and timeouts of the steps from what a run took.

    Example: python -m pipeline study resources --home var --write && make compile
    """
    summary = home / "runs" / run / "summary.json" if run else newest_summary(home)
    now, took = load_resources(file), taken(summary)
    better = proposed(now, took)
    if write:
        file.write_text(rewritten(file.read_text(encoding="utf-8"), better), encoding="utf-8")
    if as_json:
        print_json(better.model_dump())
        return
    table = Table("step", "took", "peak", "memory", "proposed", "timeout", "proposed")
    for name in now.names():
        seconds, peak = took.get(name, (None, None))
        old, new = now.of(name), better.of(name)
        table.add_row(
            name,
            "did not run" if seconds is None else f"{seconds:,.1f} s",
            "" if peak is None else f"{peak:.2f} GB",
            f"{old.memory_gb:g} GB",
            f"{new.memory_gb:g} GB",
            f"{old.timeout_minutes} min",
            f"{new.timeout_minutes} min",
        )
    console = table_console()
    console.print(f"from {summary}", soft_wrap=True)
    console.print(table)
    if any(better.of(name).memory_gb < now.of(name).memory_gb for name in took):
        console.print("some memory is less than now: is that run as large as those to come?")
    advice = "written; 'make compile' takes it into pipeline.yaml" if write else "--write keeps it"
    console.print(f"{advice} ({file})", soft_wrap=True)


def newest_summary(home: Path) -> Path:
    """The summary of the newest run that trained. Raises `ConfigError` when there is none."""
    found = sorted((home / "runs").glob("*/summary.json"), reverse=True)
    trained = (path for path in found if "train_teacher" in taken(path))
    chosen = next(trained, None)
    if chosen is None:
        there = f"{len(found)} runs that trained nothing" if found else "no finished run"
        raise ConfigError(
            f"{home / 'runs'}: {there}; run with --force first, or name a --home or a --run"
        )
    return chosen


def taken(summary: Path) -> dict[str, tuple[float, float]]:
    """Seconds and peak GB of each executed step, of its costliest instance where it has several.

    Raises `ConfigError` when the file is no summary.
    """
    try:
        steps = json.loads(summary.read_text(encoding="utf-8"))["steps"]
        executed = [step for step in steps if not step["cached"] and step["peak_rss_mb"]]
        found: dict[str, tuple[float, float]] = {}
        for step in executed:
            name = step["name"].partition("[")[0]
            if name not in step_names():
                raise ConfigError(f"{summary}: no step is called '{name}'; run the pipeline anew")
            seconds, peak = found.get(name, (0.0, 0.0))
            found[name] = (
                max(seconds, step["seconds"]),
                max(peak, step["peak_rss_mb"] * 2**20 / 1e9),
            )
    except FileNotFoundError:
        raise ConfigError(f"{summary}: no such file; name a run that finished") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{summary}: not a run's summary.json: {error!r}") from None
    return found


def proposed(now: Resources, took: Mapping[str, tuple[float, float]]) -> Resources:
    """Limits with room above what was taken; cores stay, and so do steps that did not run."""
    sized: dict[str, Any] = now.model_dump()
    for name, (seconds, peak) in took.items():
        minutes = TIME_MARGIN * seconds / 60
        sized[name] |= {
            "memory_gb": max(1, math.ceil(MEMORY_MARGIN * peak)),
            "timeout_minutes": max(
                _LEAST_MINUTES, _STEP_MINUTES * math.ceil(minutes / _STEP_MINUTES)
            ),
        }
    return Resources.model_validate(sized)


def rewritten(text: str, resources: Resources) -> str:
    """The text of a resources file with other numbers; its comments stay."""
    for name in resources.names():
        line = f"{name}: {_flow(resources.of(name))}"
        text, count = re.subn(
            rf"^{name}:[^#\n]*?(?=\s*(#|$))", lambda _, line=line: line, text, flags=re.MULTILINE
        )
        if count != 1:
            raise ConfigError(
                f"resources file: found {count} lines that begin with '{name}:', expected one; "
                "write each step on a line of its own"
            )
    return text


def _flow(step: StepResources) -> str:
    numbers = step.model_dump(exclude_defaults=True)
    parts = (
        f"{key}: {value:g}" if isinstance(value, float) else f"{key}: {value}"
        for key, value in numbers.items()
    )
    return "{" + ", ".join(parts) + "}"
