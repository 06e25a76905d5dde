"""`python -m pipeline recommend`: lists for everybody, from a registered model."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from pipeline.registry import VAR, Home, Place, PublicKey, trusting
from pipeline.terminal import INTERRUPTED, table_console
from slmrec.errors import ConfigError, SlmrecError


def recommend(
    model: Annotated[
        str, typer.Option(help="'production', 'candidate' or a number of 'registry list'.")
    ] = "production",
    users: Annotated[str, typer.Option(help="'all', or a file with a user id a line.")] = "all",
    k: Annotated[int, typer.Option(help="Length of a list.", min=1)] = 10,
    output: Annotated[
        str, typer.Option(help="Parquet file to write, a path or gs://BUCKET/OBJECT.")
    ] = "recommendations.parquet",
    home: Home = VAR,
    place: Place = "",
    sequences: Annotated[
        Path | None,
        typer.Option(help="Histories: an artifact of build_sequences; default: the newest run's."),
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Items of the history may be listed again.")
    ] = False,
    public_key: PublicKey = "",
) -> None:
    """Write the best items for every user, with scores and the model's version.

    Stopped, the same command goes on after the last finished part.
    Example: python -m pipeline recommend --users all --k 10 --output recommendations.parquet
    """
    from pipeline.home import Home as Local
    from slmrec.data.sequences import load_sequences
    from slmrec.models.recommend_all import Request, recommend_all
    from slmrec.models.servable import Servable
    from slmrec.registry.versions import MODEL

    target = _Target(output, home)
    registry = trusting(Local(home, place).registry, public_key)
    version = registry.find(model)
    histories = load_sequences(sequences or _newest_sequences(home))
    console = table_console()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    try:
        with bar, target.alone():
            shown = _Bar(bar)
            outcome = recommend_all(
                Servable(registry.artifact(version.number, MODEL, shown)),
                histories,
                target.path,
                Request(k, not include_seen, str(version.number)),
                users=_named(users),
                progress=shown,
            )
            target.send(shown)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on after the last finished part")
        raise typer.Exit(INTERRUPTED) from None
    console.print(f"{output}: {outcome.users:,} lists by version {version.number} ({version.name})")
    if outcome.without_history:
        console.print(
            f"{outcome.without_history:,} of them hold what is most popular: the model knows no item "
            "of these people"
        )


class _Target:
    """Where the lists go: a file, or by way of one in `home` an object in Cloud Storage."""

    def __init__(self, output: str, home: Path) -> None:
        from slmrec.artifacts import digest_text
        from slmrec.mounts import mounted_uri
        from slmrec.storage.client import is_remote, require_place
        from slmrec.storage.files import destination

        require_place(output)
        if uri := mounted_uri(Path(output)):
            raise ConfigError(
                f"--output {output}: a bucket mounted as a folder keeps no locks; name the bucket "
                f"itself, {uri}"
            )
        # Asked before hours of work: whether the bucket is there, and may be reached.
        self._object = destination(output) if is_remote(output) else None
        self._home = home
        self.path = Path(output)
        if self._object is not None:
            folder = home / "recommendations" / digest_text(output)[:16]
            self.path = folder / output.rpartition("/")[2]

    def alone(self) -> AbstractContextManager[object]:
        """While lists for an object are made and sent, other calls from this home wait."""
        if self._object is None:
            return nullcontext()  # a file is guarded where it is written
        self._home.mkdir(parents=True, exist_ok=True)
        return FileLock(self._home / "recommendations.lock")

    def send(self, shown: "_Bar") -> None:
        """Upload what was written, if it is to be uploaded; it stays here where that fails."""
        if self._object is None:
            return
        try:
            self._object.send(self.path, report=shown.uploading())
        except SlmrecError:
            shown.say(f"the lists are whole in {self.path}")
            raise
        shutil.rmtree(self.path.parent, ignore_errors=True)


class _Bar:
    """Progress of one piece of work as a bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("recommending", total=None)

    def update(self, done: float, total: float, note: str = "") -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, total=total)

    def uploading(self) -> Callable[[int, int], None]:
        """Move a bar of its own by bytes that were uploaded."""
        task = self._bar.add_task("uploading", total=None)
        return lambda done, total: self._bar.update(task, completed=done, total=total)

    def say(self, message: str) -> None:
        """Print above the bar."""
        self._bar.console.print(message)


def _named(users: str) -> list[str] | None:
    if users == "all":
        return None
    path = Path(users)
    if not path.is_file():
        raise ConfigError(
            f"--users: found '{users}', expected 'all' or a file with a user id a line"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"--users {users}: expected text in UTF-8, found other bytes") from error
    return [line for line in map(str.strip, text.splitlines()) if line]


def _newest_sequences(home: Path) -> Path:
    from slmrec.dashboard.runs import SEQUENCES, Runs

    runs = Runs(home)
    for run in runs.finished():
        found = runs.artifact(run, SEQUENCES)
        # Of a run that 'fetch' brought only what pages read may be here.
        if found is not None and all(
            (found.path / name).is_file() for name in found.manifest.files
        ):
            return found.path
    raise ConfigError(
        f"{home / 'runs'}: no finished run whose sequences are still there, all of them; run the "
        "pipeline, 'fetch --artifacts all', or give --sequences"
    )
