"""What this machine, or the container that this is, has and lacks for the pipeline."""

import contextlib
import importlib.metadata
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import joblib
import psutil
from rich.table import Table
from rich.text import Text

from pipeline.lock import pins, with_what_they_need
from pipeline.paths import PIPELINE_FILE, ROOT
from pipeline.terminal import Terminal

MEMORY_GB = 4
DISK_GB = 5
CGROUP = Path("/sys/fs/cgroup")
"""Where a container finds what it may use."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    good: bool
    needed: bool
    advice: str = ""


def examine(home: Path, root: Path = ROOT) -> list[Finding]:
    """Look at interpreter, packages, files, space, memory and optional tools."""
    return [
        Finding(
            "Python",
            sys.version.split()[0],
            sys.version_info >= (3, 11),
            True,
            "install Python 3.11",
        ),
        *_packages(root / "requirements.lock"),
        Finding(
            "pipeline.yaml",
            "present" if PIPELINE_FILE.exists() else "missing",
            PIPELINE_FILE.exists(),
            True,
            "make compile",
        ),
        _home(home),
        _space(home),
        _memory(),
        Finding("cores", str(joblib.cpu_count()), True, False),
        _tool("docker", "only for building and running images"),
    ]


def _packages(lock: Path) -> list[Finding]:
    """What runs need has to be there; nothing that is there may be other than locked."""
    if not lock.exists():
        return [Finding("packages", f"no {lock.name}", False, True, "restore requirements.lock")]
    needed, wrong, left_out = with_what_they_need(["slmrec"]), [], []
    for name, version in pins(lock).items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in needed:
                wrong.append(f"{name} missing, locked {version}")
            else:
                left_out.append(name)
            continue
        if installed.split("+")[0] != version:
            wrong.append(f"{name} {installed}, locked {version}")
    found = Finding("packages", _first(wrong, "; ") or "as locked", not wrong, True, "make setup")
    if not left_out:
        return [found]
    advice = "only for checks and tests; make setup"
    return [found, Finding("left out", _first(left_out, ", "), False, False, advice)]


def _first(texts: list[str], separator: str) -> str:
    return separator.join(texts[:3]) + (" …" if len(texts) > 3 else "")


def _there(home: Path) -> Path:
    """The home, or the folder that it would be made in."""
    return next(place for place in (home, *home.resolve().parents) if place.exists())


def _home(home: Path) -> Finding:
    place = _there(home)
    writable = os.access(place, os.W_OK)
    found = f"{home} {'writable' if writable else 'not writable'}"
    return Finding("home", found, writable, True, "choose another place with --home")


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(_there(home)).free / 2**30
    return Finding("free disk", f"{free:.0f} GB", free >= DISK_GB, False, f"{DISK_GB} GB are safe")


def _memory(cgroup: Path = CGROUP) -> Finding:
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        held = int((cgroup / "memory.current").read_text(encoding="ascii"))
        lines = (cgroup / "memory.stat").read_text(encoding="ascii").splitlines()
        files = next(
            (int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0
        )
        free = min(
            free, limit - held + files
        )  # what is kept of files goes when memory is asked for
    found = f"{free / 2**30:.0f} GB"
    return Finding(
        "free memory", found, free >= MEMORY_GB * 2**30, False, f"{MEMORY_GB} GB are safe"
    )


def _tool(name: str, purpose: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, path or "not found", path is not None, False, purpose)


def print_findings(console: Terminal, findings: list[Finding]) -> None:
    """A line for each finding; advice where something is lacking."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark = "✓" if finding.good else ("✗" if finding.needed else "–")
        advice = "" if finding.good else finding.advice
        table.add_row(mark, finding.what, Text(finding.found), advice)
    console.print(table)
