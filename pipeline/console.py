"""What a person sees of a run: a bar for each step, and at the end a table."""

import threading
from types import TracebackType
from typing import Any, Self

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from pipeline.terminal import Terminal
from slmrec.visible import visible

NARROW = 100
"""Columns of a terminal below which bars are short, to leave room for what a step says."""


class RunDisplay:
    """Shows steps as they start, go on and end; plain lines when the output is not a terminal."""

    def __init__(
        self, console: Terminal, parameters: dict[str, Any], doing: str = "running the pipeline"
    ) -> None:
        self._console = console
        self._doing = doing
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10 if console.width < NARROW else 24),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            # What is too long for the line is cut here, and not in the times.
            TextColumn(
                "{task.fields[note]}",
                style="dim",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )
        self._source = parameters["interactions"]
        self._show = {
            "started": self._started,
            "progress": self._advanced,
            "message": self._message,
            "finished": self._finished,
            "cached": self._cached,
            "failed": self._failed,
        }

    def __enter__(self) -> Self:
        self._console.print(
            f"slmrec: {self._doing} on {self._source}",
            highlight=False,
            soft_wrap=True,
        )
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def on_event(self, event: dict[str, Any]) -> None:
        """Show one event; called from several threads."""
        with self._lock:
            self._show[event["event"]](event)

    def _started(self, event: dict[str, Any]) -> None:
        self._tasks[event["step"]] = self._progress.add_task(event["step"], total=None, note="")

    def _advanced(self, event: dict[str, Any]) -> None:
        task = self._tasks.get(event["step"])
        if task is not None:
            self._progress.update(
                task, completed=event["done"], total=event["total"], note=event["note"]
            )

    def _message(self, event: dict[str, Any]) -> None:
        self._line("·", event["step"], "", event["text"], "yellow")

    def _finished(self, event: dict[str, Any]) -> None:
        self._remove(event)
        metadata = event["metadata"]
        seconds = f"{metadata['seconds']:.1f} s"
        self._line("✓", event["step"], seconds, metadata.get("headline", ""), "green")

    def _cached(self, event: dict[str, Any]) -> None:
        self._line("=", event["step"], "cached", event["metadata"].get("headline", ""), "cyan")

    def _failed(self, event: dict[str, Any]) -> None:
        self._remove(event)
        self._line("✗", event["step"], "", "failed", "red")

    def _remove(self, event: dict[str, Any]) -> None:
        task = self._tasks.pop(event["step"], None)
        if task is not None:
            self._progress.remove_task(task)

    def _line(self, mark: str, step: str, middle: str, text: str, style: str) -> None:
        # One line, whatever a title in it holds: a second would pass for another step.
        told = visible(text, keep="")
        line = Text.assemble((mark, style), f" {step:<27} {middle:>8}  ", (told, "default"))
        self._console.print(line, soft_wrap=True)


def print_summary(console: Terminal, summary: dict[str, Any]) -> None:
    """The models' table, the drift verdict, the gates, and where everything lies."""
    console.print()
    if summary["models"]:
        console.print(models_table(summary))
    faster = _faster(summary["student_over_teacher"])
    if faster:
        _say(console, "student", faster)
    if summary["candidate"]:
        _say(console, "candidate", "{name}: {reason}".format(**summary["candidate"]))
    decision = summary["decision"]
    if decision["reason"]:
        _say(
            console,
            "training",
            ("yes" if decision["retrain"] else "no") + f": {decision['reason']}",
        )
    _say(console, "drift", str(summary["drift"]["verdict"]))
    for alarm in summary["drift"]["alarms"][:3]:
        _say(console, "", alarm["sentence"])
    for gate in summary["gates"]:
        mark, style = ("✓", "green") if gate["passed"] else ("✗", "red")
        found = f"found {gate['found']}, required {gate['required']}"
        told = visible(f" {gate['name']}: {found}", keep="")
        line = Text.assemble("  gate      ", (mark, style), told)
        console.print(line, soft_wrap=True)
    if summary["gates"]:
        promoted = summary["promoted"]
        _say(
            console,
            "promoted",
            f"version {promoted}" if promoted else f"no: {summary['promotion']}",
        )
    places = summary["places"]
    _say(console, "run", places["run"])
    for label, key, name in (
        ("report", "evaluate_models.timings", "report.html"),
        ("drift", "monitor_drift.report", "report.html"),
    ):
        if key in places:
            _say(console, label, f"{places[key]}/{name}")
    _say(console, "registry", places["registry"])
    console.print(f"  done in {summary['seconds']:.0f} s")


def _faster(ratios: dict[str, float | None]) -> str:
    """How many times as fast the student is as its teacher, in a sentence; empty where unknown."""
    named = {
        "epoch": "an epoch of training {} ×",
        "layers_batch1": "layers for one user {} ×",
        "layers_batch": "for a batch {} ×",
        "request_batch1": "whole requests for one user {} ×",
        "request_batch": "for a batch {} ×",
    }
    parts = [words.format(f"{ratios[key]:.1f}") for key, words in named.items() if ratios.get(key)]
    return f"how many times as fast as its teacher: {', '.join(parts)}" if parts else ""


def models_table(summary: dict[str, Any]) -> Table:
    """Quality with intervals, size and speed, a row a model."""
    users = summary["users_evaluated"]
    trained = "" if summary["retrained"] else ", the production model's evaluation"
    table = Table(
        title=f"next item over the full catalogue, {users:,} test users{trained}",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    table.add_column("model")
    for name in ("backbone", "MB", "NDCG@10", "95 % interval", "HR@10", "p50 ms", "users/s"):
        table.add_column(name, justify="right")
    for model in summary["models"]:
        ndcg, hr = model["metrics"]["ndcg@10"], model["metrics"]["hr@10"]
        low, high = ndcg["ci95"]
        p50, rate = model["latency_ms"]["batch1_p50"], model["users_per_second"]
        table.add_row(
            model["name"] + (" *" if model.get("candidate") else ""),
            f"{model['parameters_backbone']:,}",
            f"{model['bytes'] / 1e6:.2f}",
            f"{ndcg['value']:.4f}",
            f"{low:.4f} – {high:.4f}",
            f"{hr['value']:.4f}",
            "–" if p50 is None else f"{p50:.2f}",
            "–" if rate is None else f"{rate:,.0f}",
            style="bold" if model.get("candidate") else "",
        )
    table.caption = "* candidate: what the gates judge and what would be served"
    table.caption_justify = "left"
    return table


def _say(console: Terminal, label: str, text: str) -> None:
    console.print(Text(f"  {label:<9} {visible(text, keep='')}"), soft_wrap=True)
