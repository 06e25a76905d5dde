"""Who decided what about which version, and why: a file to which lines are only ever added."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from slmrec.artifacts import canonical_json
from slmrec.errors import ArtifactError

PROMOTE, REFUSE, ROLLBACK, PRUNE = "promote", "refuse", "rollback", "prune"


@dataclass(frozen=True)
class Decision:
    """One line of `decisions.jsonl`."""

    action: str
    """`promote`, `refuse`, `rollback` or `prune`."""
    version: int | None
    """What it is about; of a rollback, what serves since then."""
    previous: int | None
    """What was production when the decision fell."""
    reason: str
    actor: str
    time: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the decision rests on, by name."""


class DecisionLog:
    """The lines of a registry's `decisions.jsonl`; whoever writes holds the registry's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def decisions(self) -> list[Decision]:
        """Every decision, oldest first. Raises `ArtifactError` naming a broken line."""
        found = []
        for number, line in enumerate(self._lines(), start=1):
            try:
                found.append(Decision(**json.loads(line)))
            except (ValueError, TypeError):
                raise ArtifactError(
                    f"{self.path}, line {number}: not a decision, found {line[:60]!r}; "
                    "a writer was interrupted, move the line to a file beside it"
                ) from None
        return found

    def readable(self) -> Iterator[Decision]:
        """Decisions without the half lines of interrupted writers, which must not block new ones."""
        for line in self._lines():
            with suppress(ValueError, TypeError):
                yield Decision(**json.loads(line))

    def append(self, decision: Decision) -> None:
        """Add a decision; it is on the disk when this returns."""
        line = canonical_json(asdict(decision)) + "\n"
        with self.path.open("ab+") as stream:
            if stream.tell() > 0:
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":  # an interrupted writer: keep its half line apart
                    line = "\n" + line
            stream.write(line.encode())
            stream.flush()
            os.fsync(stream.fileno())

    def newest_move(self) -> Decision | None:
        """The last decision that moved the pointer."""
        moves = [one for one in self.readable() if one.action in (PROMOTE, ROLLBACK)]
        return moves[-1] if moves else None

    def served(self) -> list[int]:
        """Which versions served, in order, each rollback having taken back what came after."""
        served: list[int] = []
        for decision in self.readable():
            if decision.version is None:
                continue
            if decision.action == PROMOTE:
                served.append(decision.version)
            elif decision.action == ROLLBACK and decision.version in served:
                while served[-1] != decision.version:
                    served.pop()
            elif decision.action == PRUNE:
                served = [number for number in served if number != decision.version]
        return served

    def taken_back(self) -> set[int]:
        """Versions that a rollback took back and nobody has promoted since."""
        found: set[int] = set()
        for decision in self.readable():
            if decision.action == ROLLBACK and decision.previous is not None:
                found.add(decision.previous)
            elif decision.action == PROMOTE and decision.version is not None:
                found.discard(decision.version)
        return found

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
