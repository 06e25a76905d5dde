"""What both services know of a run, in the same words."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from pipeline.submission.transport import SubmissionError


@dataclass(frozen=True)
class RunHandle:
    """A run as a list shows it."""

    service: str
    """`kfp` or `vertex`."""
    id: str
    """As the service finds it."""
    name: str
    """As the service shows it."""
    state: str
    """In the service's own word."""
    finished: bool
    succeeded: bool
    created: datetime

    @property
    def home_id(self) -> str:
        """The run's name in a home: runs of any place are in the order of their names there."""
        whose = hashlib.sha256(self.id.encode()).hexdigest()[:8]
        return f"{self.created.astimezone(UTC):%Y%m%d-%H%M%S-%f}-{self.service}-{whose}"


@dataclass(frozen=True)
class RemoteArtifact:
    """An output of a task."""

    uri: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class RemoteTask:
    """One execution of a step."""

    step: str
    """As the folders under `components/` are called."""
    state: Literal["executed", "cached", "failed"]
    started: datetime
    ended: datetime
    outputs: Mapping[str, RemoteArtifact] = field(default_factory=dict)
    """By port."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Outputs that are values, by name."""
    message: str = ""
    """Why it failed, in the service's words."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What the step said of itself.

        Every output carries it; of a step that has none, its values are all that is known.
        """
        for artifact in self.outputs.values():
            if "step" in artifact.metadata:
                return dict(artifact.metadata)
        seconds = round((self.ended - self.started).total_seconds(), 3)
        return {**self.parameters, "step": self.step, "seconds": seconds}


@dataclass(frozen=True)
class RemoteRun:
    """All that a service knows of a run that has ended."""

    handle: RunHandle
    link: str
    """Address of its page."""
    started: datetime
    ended: datetime
    parameters: Mapping[str, Any]
    spec: Mapping[str, Any]
    """The compiled pipeline."""
    tasks: tuple[RemoteTask, ...]
    """In the order in which they ended."""
    message: str = ""
    """Why it failed, in the service's words."""


class RunService(Protocol):
    """A service that ran the pipeline. Raises `ConfigError` and `SubmissionError`."""

    def newest(self) -> Iterator[RunHandle]:
        """Runs of this pipeline, newest first."""

    def find(self, name: str) -> RunHandle:
        """The run of an id. Raises `ConfigError` when it is no run of this pipeline."""

    def read(self, handle: RunHandle) -> RemoteRun:
        """All about a run that has ended."""


def moment(text: Any) -> datetime:
    """A time of a service, RFC 3339. Raises `SubmissionError` when it is none."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise SubmissionError(
            f"the service tells a time as {text!r:.40}; expected such as 2026-01-31T12:00:00Z"
        ) from None
    if found.tzinfo is None:
        raise SubmissionError(f"the service tells a time without its zone: {text}")
    return found


def step_of(task: str, steps: frozenset[str]) -> str:
    """The step that a task is an execution of; empty for loops, conditions and pipelines in it.

    An iteration of a loop may carry its number behind the name.
    """
    name = task.replace("-", "_")
    while name not in steps:
        name, separator, number = name.rpartition("_")
        if not separator or not number.isdecimal():
            return ""
    return name


def whole_numbers(value: Any) -> Any:
    """A value in which numbers without a fraction are whole: both services keep metadata as floats."""
    if isinstance(value, Mapping):
        return {key: whole_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole_numbers(inner) for inner in value]
    whole = isinstance(value, float) and math.isfinite(value) and value.is_integer()
    return int(value) if whole else value
