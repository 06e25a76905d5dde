"""`python -m pipeline datasets …`: data to try the pipeline on."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from pipeline.terminal import INTERRUPTED, Terminal, table_console
from slmrec.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    help="Data to try the pipeline on: list public logs, fetch one, or make a sample of any size. "
    "Example: python -m pipeline datasets fetch ml-latest-small",
)
FOLDER = Path("var/data")


@app.command(name="list")
def list_() -> None:
    """List the public logs that can be fetched, and how large they are.

    Example: python -m pipeline datasets list
    """
    from slmrec.data.public.logs import LOGS

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("users / items / interactions", justify="right", no_wrap=True)
    table.add_column("MB", justify="right")
    table.add_column("what")
    for log in LOGS.values():
        table.add_row(log.name, log.size, f"{log.megabytes:,}", log.what)
    console = table_console()
    console.print(table)
    console.print("\nfetch one with: python -m pipeline datasets fetch NAME", soft_wrap=True)
    console.print(
        "or make one:    python -m pipeline datasets sample --users 100000", soft_wrap=True
    )


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of 'datasets list'.")],
    output: Annotated[
        Path, typer.Option(help="Folder under which NAME/ will appear.", file_okay=False)
    ] = FOLDER,
    mirror: Annotated[
        str,
        typer.Option(help="URL of a folder that holds the same files, instead of the publisher's."),
    ] = "",
    max_megabytes: Annotated[
        int | None,
        typer.Option(min=1, help="Refuse a larger file; default: about what the list says."),
    ] = None,
) -> None:
    """Fetch a public log; an interrupted fetch goes on where it stopped.

    Example: python -m pipeline datasets fetch ml-latest-small
    """
    from slmrec.data.public.fetch import fetch_log, find_log

    log = find_log(name)
    console = table_console()
    console.print(f"{log.name}: {log.what}", soft_wrap=True)
    console.print(f"terms: {log.terms}", soft_wrap=True)
    try:
        with _Bars(console) as bars:
            fetched = fetch_log(log, output, bars, mirror=mirror, max_megabytes=max_megabytes)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on where this one stopped")
        raise typer.Exit(INTERRUPTED) from None
    if not fetched.fresh:
        console.print("already there and unaltered")
    _print_command(console, fetched.interactions, fetched.items)


@app.command()
def sample(
    output: Annotated[
        Path, typer.Option(help="Log to write: .parquet, .csv, or .csv.gz.", dir_okay=False)
    ] = FOLDER / "sample" / "interactions.parquet",
    users: Annotated[int, typer.Option(min=1, help="People in the log.")] = 3_000,
    items: Annotated[int, typer.Option(min=1, help="Items in the catalogue.")] = 1_500,
    interactions: Annotated[
        int | None, typer.Option(min=1, help="Default: 33 for each user.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one makes another log.")] = 17,
    force: Annotated[bool, typer.Option("--force", help="Write over files that exist.")] = False,
) -> None:
    """Make the built-in sample as files: a log and, beside it, its items.

    The same numbers give the same rows on every machine. Memory does not grow with the size.

    Example: python -m pipeline datasets sample --users 100000 --items 20000
    """
    from slmrec.data.sample import parse_sample
    from slmrec.data.sample_files import sample_paths, write_sample

    rows = interactions if interactions is not None else USUAL_HISTORY * users
    wanted = parse_sample(f"sample:users={users},items={items},interactions={rows},seed={seed}")
    paths = sample_paths(output)
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise ConfigError(f"{', '.join(existing)}: exists; choose another --output or add --force")
    console = table_console()
    with _Bars(console, unit="rows") as bars:
        write_sample(wanted, output, bars)
    console.print(f"{rows:,} interactions of {users:,} users with {items:,} items", soft_wrap=True)
    _print_command(console, *paths)


USUAL_HISTORY = 33
"""Interactions of a user, where nobody says how many."""


def _print_command(console: Terminal, interactions: Path, items: Path) -> None:
    words = ["--interactions", str(interactions), "--items", str(items)]
    console.print("run the pipeline on it:", soft_wrap=True)
    console.print(f"  python -m pipeline run {shlex.join(words)}", soft_wrap=True)


class _Bars:
    """A bar for each file, for `slmrec.progress.Progress` to move."""

    def __init__(self, console: Terminal, unit: str = "bytes") -> None:
        amount = DownloadColumn() if unit == "bytes" else TextColumn("{task.completed:,.0f} rows")
        speed = [TransferSpeedColumn()] if unit == "bytes" else []
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=32),
            amount,
            *speed,
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, done: float, total: float, note: str = "") -> None:
        """Move the bar of `note`."""
        if note not in self._tasks:
            self._tasks[note] = self._progress.add_task(note, total=total)
        self._progress.update(self._tasks[note], completed=done, total=total)

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self._console.print(message, soft_wrap=True)
