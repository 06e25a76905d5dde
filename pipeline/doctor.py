"""What this machine has and lacks for the pipeline."""

import importlib.metadata
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.paths import PIPELINE_FILE, ROOT

MEMORY_GB = 4
DISK_GB = 5


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
        _packages(root / "requirements.lock"),
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
        Finding("cores", str(os.cpu_count()), True, False),
        _tool("docker", "only for building and running images"),
    ]


def _packages(lock: Path) -> Finding:
    if not lock.exists():
        return Finding("packages", f"no {lock.name}", False, True, "restore requirements.lock")
    wrong = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        name, separator, version = line.split("#")[0].strip().partition("==")
        if not separator:
            continue
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed.split("+")[0] != version.split(";")[0].strip():
            wrong.append(f"{name} {installed}, locked {version}")
    found = "as locked" if not wrong else "; ".join(wrong[:3]) + (" …" if len(wrong) > 3 else "")
    return Finding("packages", found, not wrong, True, "make setup")


def _home(home: Path) -> Finding:
    place = next(p for p in (home, *home.resolve().parents) if p.exists())
    writable = os.access(place, os.W_OK)
    found = f"{home} {'writable' if writable else 'not writable'}"
    return Finding("home", found, writable, True, "choose another place with --home")


def _space(home: Path) -> Finding:
    place = next(p for p in (home, *home.resolve().parents) if p.exists())
    free = shutil.disk_usage(place).free / 2**30
    return Finding("free disk", f"{free:.0f} GB", free >= DISK_GB, False, f"{DISK_GB} GB are safe")


def _memory() -> Finding:
    total = psutil.virtual_memory().available / 2**30
    return Finding(
        "free memory", f"{total:.0f} GB", total >= MEMORY_GB, False, f"{MEMORY_GB} GB are safe"
    )


def _tool(name: str, purpose: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, path or "not found", path is not None, False, purpose)


def print_findings(console: Console, findings: list[Finding]) -> None:
    """A line for each finding; advice where something is lacking."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark = "✓" if finding.good else ("✗" if finding.needed else "–")
        advice = "" if finding.good else finding.advice
        table.add_row(mark, finding.what, Text(finding.found), advice)
    console.print(table)
