"""`python -m pipeline fetch`: runs of Kubeflow Pipelines or Vertex AI, in a home for the dashboard."""

import json
import os
from collections.abc import Iterable
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.submission import options
from pipeline.submission.groups import grouped
from pipeline.terminal import Terminal, line_console, print_json
from slmrec.errors import ConfigError, SlmrecError
from slmrec.storage.client import is_remote, split
from slmrec.visible import visible

if TYPE_CHECKING:
    from pipeline.fetching.collect import Collector
    from pipeline.fetching.remote import RunHandle, RunService

_UNREAD = (ValueError, TypeError, KeyError, AttributeError, IndexError)
"""What a run that is told in another form than expected ends in: its own trouble, not the others'."""
LOCK = ".fetch.lock"
"""In the home: one fetch at a time."""


class Artifacts(StrEnum):
    """How much of a run is fetched."""

    REPORTS = "reports"
    ALL = "all"


class NotFetchedError(SlmrecError):
    """Some runs could not be fetched; the others were."""


@grouped
def fetch(
    connection: options.Connection,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of runs, as 'submit' prints them; default: the newest that ended."
        ),
    ] = None,
    last: Annotated[
        int,
        typer.Option(min=1, help="Without RUNS: how many of the newest to look at."),
    ] = 20,
    home: Annotated[Path, typer.Option(help="Where the dashboard looks for runs.")] = Path("var"),
    artifacts: Annotated[
        Artifacts,
        typer.Option(
            help="reports: what pages show; all: the log, sequences, models and caches, too. Name a "
            "run that was fetched already to complete it."
        ),
    ] = Artifacts.REPORTS,
    registry_place: Annotated[
        str,
        typer.Option("--registry", help="The models' registry; default: where each run had it."),
    ] = "",
    publish: Annotated[
        str,
        typer.Option(
            help="gs://BUCKET/PREFIX where summaries are put, too: each as RUN.json, the newest as "
            "summary.json for 'trigger --summary'."
        ),
    ] = "",
    object_store: Annotated[
        str,
        typer.Option(
            envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
            help="http(s)://HOST:PORT of the store that minio:// and s3:// are read from; default for "
            "s3://: Amazon S3. Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which runs would be fetched, and fetch none.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Fetch runs that ended on a service, so that the dashboard shows them.

    Runs that are there already are left as they are, so it may be repeated every few minutes.

    Example: python -m pipeline fetch --target kfp --host https://HOST/pipeline
    --publish gs://shop/slmrec/summaries
    """
    from filelock import FileLock, Timeout

    from pipeline.fetching.artifacts import ArtifactFetcher
    from pipeline.fetching.collect import Collector
    from pipeline.home import Home
    from pipeline.submission.transport import check_address
    from slmrec.storage.object_store import ObjectStore

    store = check_address("--object-store", object_store) if object_store else ""
    objects = ObjectStore(store, os.environ)
    if publish:
        split(f"{publish.rstrip('/')}/", "gs://BUCKET/PREFIX as --publish")
    service = _service(connection)
    place = Home(home)
    whole = artifacts is Artifacts.ALL
    fetcher = ArtifactFetcher(place.artifacts / "fetched", objects, whole=whole)
    collector = Collector(place, fetcher, registry_place)
    handles = _asked(service, runs or [], last)
    new = [run for run in handles if runs or not collector.has(run)]
    console = line_console(stderr=as_json)
    if dry_run:
        _tell(console, as_json, {"would_fetch": [_told(run) for run in new]})
        return
    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / LOCK, timeout=0):
            found = _fetch(service, collector, new, console)
            if publish:
                found["published"] = _publish(publish, collector, handles)
    except Timeout:
        raise NotFetchedError(
            f"{home}: another fetch is at work there; try again when it has ended"
        ) from None
    found["there"] = len(handles) - len(new)
    _tell(console, as_json, found)
    if found["refused"]:
        names = ", ".join(one["run"] for one in found["refused"])
        raise NotFetchedError(f"not fetched, see above: {names}")


def _service(connection: options.Connection) -> "RunService":
    from pipeline.fetching.kubeflow_runs import KubeflowRuns
    from pipeline.fetching.vertex_runs import VertexRuns
    from pipeline.submission.kfp_target import KubeflowTarget
    from pipeline.submission.vertex_target import VertexTarget

    target = connection.target()
    if isinstance(target, KubeflowTarget):
        return KubeflowRuns(target.api)
    assert isinstance(target, VertexTarget)
    return VertexRuns(target.api)


def _asked(service: "RunService", names: list[str], last: int) -> list["RunHandle"]:
    """The runs in question, newest first. Raises `ConfigError` for one that goes on."""
    if not names:
        return list(islice((run for run in service.newest() if run.finished), last))
    found = [service.find(name) for name in dict.fromkeys(names)]
    for run in found:
        if not run.finished:
            raise ConfigError(
                f"run {run.id}: is {run.state or 'waiting'}; expected one that succeeded or failed"
            )
    return found


def _fetch(
    service: "RunService", collector: "Collector", runs: Iterable["RunHandle"], console: Terminal
) -> dict[str, Any]:
    """Fetch each, oldest first, so that a dashboard never shows a gap; one that fails stops none."""
    found: dict[str, Any] = {"fetched": [], "refused": []}
    for run in sorted(runs, key=lambda run: run.created):
        try:
            summary = collector.collect(service.read(run))
        except (SlmrecError, OSError, *_UNREAD) as error:
            reason = _unread(error) if isinstance(error, _UNREAD) else str(error)
            found["refused"].append({**_told(run), "reason": reason})
            console.print(f"✗ {run.home_id}  {_name(run.name)}: {reason}", style="red")
            continue
        verdict = "failed" if summary is None else f"drift: {summary['drift']['verdict']}"
        found["fetched"].append({**_told(run), "verdict": verdict})
        console.print(f"✓ {run.home_id}  {_name(run.name)}: {verdict}")
        if summary is not None and not summary["models"]:
            _warn_of_registry(console, summary["places"]["registry"])
    return found


def _unread(error: Exception) -> str:
    return (
        "what is told of it, or what its steps left, is not in a form that is read here "
        f"({type(error).__name__}: {str(error)[:80]}); it may be the run of another version of slmrec: "
        "fetch it with that one"
    )


def _warn_of_registry(console: Terminal, place: str) -> None:
    if not is_remote(place) and not Path(place).is_dir():
        console.print(
            f"  models of the version that served are not shown: registry {place} is not on this "
            "machine; name it with --registry",
            style="yellow",
        )


def _publish(place: str, collector: "Collector", runs: list["RunHandle"]) -> list[str]:
    """Publish what is here of these runs and not there, fetched now or before."""
    from pipeline.fetching.collect import SUMMARY
    from pipeline.fetching.publishing import publish_summaries
    from slmrec.storage.documents import open_documents

    summaries = {}
    for run in runs:
        path = collector.home.run(run.home_id) / SUMMARY
        if path.exists():
            summaries[run.home_id] = json.loads(path.read_text(encoding="utf-8"))
    return publish_summaries(open_documents(place), summaries)


def _told(run: "RunHandle") -> dict[str, str]:
    return {"run": run.home_id, "id": run.id, "name": run.name, "state": run.state}


def _name(text: str) -> str:
    """In one line: a second would pass for another run."""
    return visible(text, keep="")


def _tell(console: Terminal, as_json: bool, found: dict[str, Any]) -> None:
    if as_json:
        print_json(found)
        return
    if "would_fetch" in found:
        for run in found["would_fetch"]:
            console.print(f"would fetch {_name(run['name'])} ({run['state']}) as {run['run']}")
        if not found["would_fetch"]:
            console.print("nothing new")
        return
    published = f", published {len(found['published'])}" if "published" in found else ""
    console.print(f"fetched {len(found['fetched'])}, there already {found['there']}{published}")
