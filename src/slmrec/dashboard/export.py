"""The dashboard as files, for places without a server: every page but its forms, and every twin."""

from collections.abc import Callable
from pathlib import Path

from slmrec.dashboard.app import STYLE
from slmrec.dashboard.pages import REPORTS, VIEWS
from slmrec.dashboard.pages.models import report_bytes
from slmrec.dashboard.pages.view import PageMissingError
from slmrec.dashboard.records import Records, as_json
from slmrec.dashboard.rendering import Frame, render
from slmrec.errors import ConfigError

_Path = tuple[str, ...]


def export(records: Records, directory: Path) -> int:
    """Write every page under a directory that is new or empty; returns how many there are.

    Links are relative, so that it opens from a bucket or a disk. Reports that need scripts are left
    out: outside of a server nothing would hold them in their frame.

    Raises `ConfigError` when the directory holds something else.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory}: holds something already; name a new folder for the export")
    _write(directory / "static" / "style.css", STYLE.read_bytes())
    count = 0
    for view in VIEWS:
        for arguments in view.instances(records):
            try:
                page = view.build(records, arguments)
            except PageMissingError:
                continue  # its artifacts are gone
            path = view.path(arguments)
            frame = Frame(_relative(path), _asset(path), interactive=False)
            _write(directory / _file(path), render(page, frame).encode("utf-8", "replace"))
            twin = directory / "api" / _file(path).replace(".html", ".json")
            _write(twin, as_json(page.data).encode("utf-8", "replace"))
            count += 1
    _reports(records, directory)
    return count


def _reports(records: Records, directory: Path) -> None:
    for run in records.runs.finished():
        for kind, report in REPORTS.items():
            holding = records.runs.artifact(run, report.port)
            content = None if report.scripts or holding is None else holding.bytes(report.name)
            if content is not None:
                _write(directory / _file(("runs", run.slug, "reports", kind)), content)
    for number in records.registered().versions:
        content = report_bytes(records, number)
        if content is not None:
            path = ("models", str(number), "reports", "evaluation")
            _write(directory / _file(path), content)


def _file(path: _Path) -> str:
    return "/".join(path or ("index",)) + ".html"


def _relative(path: _Path) -> Callable[..., str]:
    up = "../" * (max(len(path), 1) - 1)
    return lambda *segments: up + _file(tuple(map(str, segments)))


def _asset(path: _Path) -> Callable[[str], str]:
    up = "../" * (max(len(path), 1) - 1)
    return lambda name: f"{up}static/{name}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
