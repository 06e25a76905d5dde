"""What both services can do for us, and the words that the command line has for it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.submission.bundle import NAME, Bundle
from pipeline.submission.cron import Cron
from slmrec.errors import ConfigError, SlmrecError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Job:
    """What a run is besides its bundle."""

    name: str
    """How the service shows a run."""
    experiment: str = NAME
    service_account: str = ""
    root: str = ""
    """Where artifacts go; the service's own place where empty."""


@dataclass(frozen=True)
class Schedule:
    """A schedule as the service has it."""

    name: str
    id: str
    cron: str
    paused: bool
    version: str
    """Of the pipeline, and on Kubeflow the time zone that was meant."""


class Target(Protocol):
    """A service that runs the pipeline. Raises `ConfigError` and `SubmissionError`."""

    def submit(self, bundle: Bundle, job: Job) -> dict[str, Any]:
        """Start one run and say where it is; `started` is false where one of its name was there."""

    def find_run(self, name: str) -> dict[str, Any] | None:
        """Where a run of that name is; None where there is none."""

    def create_schedule(self, bundle: Bundle, job: Job, name: str, cron: Cron) -> dict[str, Any]:
        """Create a schedule, or leave the one that is there when it is the same."""

    def schedules(self) -> list[Schedule]:
        """Every schedule of this pipeline, by name."""

    def pause(self, schedule: Schedule) -> None:
        """Start no more runs until it is resumed."""

    def resume(self, schedule: Schedule) -> None:
        """Start runs again; those that were missed stay missed."""

    def delete(self, schedule: Schedule) -> None:
        """Remove a schedule; its runs stay."""


def find_schedule(target: Target, name: str) -> Schedule:
    """The one schedule with a name or an id. Raises `ConfigError` when there is none, or several."""
    every = target.schedules()
    found = [schedule for schedule in every if name in (schedule.name, schedule.id)]
    if not found:
        listed = ", ".join(schedule.name for schedule in every) or "none"
        raise ConfigError(f"schedule '{name}': not there; found: {listed}")
    if len(found) > 1:
        ids = ", ".join(schedule.id for schedule in found)
        raise ConfigError(f"schedule '{name}': there are {len(found)}; name one by its id: {ids}")
    return found[0]


def check_name(name: str) -> str:
    """A schedule's name that every service takes. Raises `ConfigError`."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name '{name}': expected 1 to 63 letters, digits, spaces, '.', '_' and '-', with a "
            "letter or digit at both ends"
        )
    return name


def refuse_other(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise `ConfigError` when the schedule that has this name is not the one that is asked for."""
    other = []
    for part, value in wanted.items():
        there = found.get(part)
        if there == value:
            continue
        if isinstance(value, dict) and isinstance(there, dict):
            names = sorted(key for key in {*value, *there} if value.get(key) != there.get(key))
            other.append(f"{part} ({', '.join(names)})")
        elif part == "cron":
            other.append(f"cron ('{there}', asked for '{value}')")
        else:
            other.append(part)
    if other:
        raise ConfigError(
            f"schedule '{name}': is there already with another {', '.join(other)}; delete it first "
            "with 'schedule delete', or choose another --name"
        )


@contextmanager
def uploaded(what: str) -> Iterator[None]:
    """Where a step after an upload fails, say what is there and that it does no harm."""
    try:
        yield
    except SlmrecError as error:
        raise type(error)(f"{error}; {what} is uploaded and will be used next time") from error
