"""Which runs were started, and for what: one document that moves by compare-and-swap.

A run is entered before it is started, so that of two who have the same reason one comes first; once it
is there, its id is added. An entry that stays without one is somebody who failed in between.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from slmrec.artifacts import canonical_json
from slmrec.data.listing import Files, parse_files
from slmrec.errors import ArtifactError, RegistryConflict
from slmrec.registry.versions import ATTEMPTS
from slmrec.storage.documents import ABSENT, Documents

CLAIM_TIME = timedelta(minutes=10)
"""How long somebody may take from entering a run to its start: longer than all requests together."""
_NAME = "triggers.json"


@dataclass(frozen=True)
class StartedRun:
    """A run, entered by whoever starts it."""

    name: str
    """How the service calls it, made from the reasons: the same ones give the same name."""
    reasons: Mapping[str, str]
    """Key of each reason that it was started for, by the reason's name."""
    time: str
    """When it was entered, ISO 8601."""
    source_digest: str = ""
    files: Files | None = None
    """Of the source at that time; kept of the newest run only."""
    id: str = ""
    """The service's; empty until it has said one."""
    link: str = ""


@dataclass(frozen=True)
class Ledger:
    """Every run that was started, oldest first."""

    runs: tuple[StartedRun, ...] = ()
    generation: str = field(default=ABSENT, compare=False)
    """Of the document that it was read from."""

    def answer(self, key: str) -> StartedRun | None:
        """The run that was started for a reason."""
        return next((run for run in self.runs if key in run.reasons.values()), None)

    def abandoned(self, now: datetime) -> list[StartedRun]:
        """Runs that were entered a while ago and of which nobody knows whether they are there."""
        return [run for run in self.runs if not run.id and _moment(run) + CLAIM_TIME <= now]

    def entered(self, run: StartedRun) -> "Ledger":
        """With one more run."""
        return replace(self, runs=(*self.runs, run))

    def started(self, run: StartedRun) -> "Ledger":
        """With what the service said of a run; of started runs the newest alone keeps its files."""
        runs = sorted((*self.without(run).runs, run), key=_moment)
        newest = max(_moment(one) for one in runs if one.id)
        return replace(
            self,
            runs=tuple(
                replace(one, files=None) if one.id and _moment(one) < newest else one
                for one in runs
            ),
        )

    def without(self, run: StartedRun) -> "Ledger":
        """Without a run that was not started."""
        return replace(self, runs=tuple(one for one in self.runs if not _same(one, run)))


class Triggers:
    """The ledger in the place of a registry."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._where = documents.uri(_NAME)

    def read(self) -> Ledger:
        """What is there. Raises `ArtifactError` when it cannot be read."""
        document = self._documents.read(_NAME)
        if document is None:
            return Ledger()
        try:
            runs = tuple(_parse(one) for one in json.loads(document.content)["runs"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArtifactError(
                f"{self._where}: not the runs that were triggered ({error}); restore it from a copy"
            ) from None
        return Ledger(runs, document.generation)

    def replace(self, ledger: Ledger) -> bool:
        """Write what was made of what was read; whether nobody else did meanwhile."""
        content = canonical_json({"runs": [asdict(run) for run in ledger.runs]}) + "\n"
        return self._documents.replace(_NAME, content.encode(), ledger.generation)

    def change(self, make: Callable[[Ledger], Ledger]) -> None:
        """Change what is there, whatever it is. Raises `RegistryConflict`."""
        for _ in range(ATTEMPTS):
            if self.replace(make(self.read())):
                return
        raise self.conflict()

    def conflict(self) -> RegistryConflict:
        """What to say where others came first again and again."""
        return RegistryConflict(
            f"{self._where}: {ATTEMPTS} times another process changed it first; try again"
        )


def _moment(run: StartedRun) -> datetime:
    return datetime.fromisoformat(run.time)


def _same(one: StartedRun, other: StartedRun) -> bool:
    return (one.name, one.time) == (other.name, other.time)


def _parse(content: Mapping[str, Any]) -> StartedRun:
    files = content["files"]
    if datetime.fromisoformat(content["time"]).tzinfo is None:
        raise ValueError(f"the time {content['time']} has no zone")
    return StartedRun(**{**content, "files": None if files is None else parse_files(files)})
