"""What serves and what may serve next: one small document that moves by compare-and-swap."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime

from pydantic import TypeAdapter

from slmrec.artifacts import canonical_json
from slmrec.errors import ArtifactError, ConfigError
from slmrec.registry import decisions
from slmrec.registry.decisions import Decision, Number
from slmrec.registry.moments import require_moment
from slmrec.registry.reading import read_document

PRODUCTION, CANDIDATE = "production", "candidate"


@dataclass(frozen=True)
class Channels:
    """Which version each channel names, and all that a decision about the next one rests on.

    One document holds it, so that whoever changes it saw all of it.
    """

    production: Number | None = None
    """What serves."""
    candidate: Number | None = None
    """What the newest run would have serve."""
    served: tuple[Number, ...] = ()
    """Which versions served, in order, each rollback having taken back what came after."""
    taken_back: tuple[Number, ...] = ()
    """Versions that a rollback took back or a person rejected, and nobody has promoted since."""
    removed: tuple[Number, ...] = ()
    """Versions that prunings took away, of which files may be left; their numbers do not come again."""
    request: Decision | None = None
    """A person's request to train, until a run has made a candidate."""
    snooze: Decision | None = None
    """Until when drift is no reason to train, and new data none to start a run; and why."""
    decided: int = 0
    """How many decisions there were."""
    newest: tuple[Decision, ...] = ()
    """The decisions of the last change."""

    def way_back(self) -> tuple[int, ...]:
        """What a rollback may bring back, the last to serve first."""
        return tuple(number for number in reversed(self.served) if number != self.production)

    def decision(
        self,
        action: str,
        version: int | None,
        reason: str,
        actor: str,
        time: str,
        evidence: Mapping[str, str] | None = None,
        *,
        place: int = 0,
    ) -> Decision:
        """The next decision, or the one `place` further on, with the number that it will have."""
        number = self.decided + 1 + place
        previous = self.production
        return Decision(
            number, action, version, previous, reason, actor, time, dict(evidence or {})
        )

    def snoozed(self, now: datetime) -> Decision | None:
        """The snooze that has not ended yet."""
        if self.snooze is None or datetime.fromisoformat(self.snooze.until) <= now:
            return None
        return self.snooze

    def after(self, *made: Decision) -> "Channels":
        """The channels once decisions have fallen; their numbers follow on `decided`."""
        found = self
        for decision in made:
            if decision.action == decisions.RETRAIN:
                found = replace(found, request=decision)
            elif decision.action == decisions.SNOOZE:
                found = replace(found, snooze=decision)
            elif decision.version is not None:
                found = found._moved(decision.action, decision.version)
                if decision.answers is not None:
                    found = replace(found, request=None)
        return replace(found, decided=self.decided + len(made), newest=tuple(made))

    def _moved(self, action: str, version: int) -> "Channels":
        match action:
            case decisions.PROPOSE:
                return replace(self, candidate=version)
            case decisions.PROMOTE:
                return replace(
                    self,
                    production=version,
                    served=(*self.served, version),
                    taken_back=_without(self.taken_back, version),
                )
            case decisions.ROLLBACK:
                last = len(self.served) - self.served[::-1].index(version)
                gone = () if self.production is None else (self.production,)
                return replace(
                    self,
                    production=version,
                    served=self.served[:last],
                    taken_back=(*_without(self.taken_back, *gone), *gone),
                )
            case decisions.REJECT:
                return replace(
                    self,
                    candidate=None if self.candidate == version else self.candidate,
                    taken_back=(*_without(self.taken_back, version), version),
                )
            case decisions.PRUNE:
                served = _without(self.served, version)
                return replace(self, served=served, removed=(*self.removed, version))
            case _:
                return self

    def to_json(self) -> bytes:
        """The document; the same channels give the same bytes."""
        return (canonical_json(asdict(self)) + "\n").encode()


_CHANNELS = TypeAdapter(Channels)


def parse_channels(content: bytes, where: str) -> Channels:
    """Read the document. Raises `ArtifactError` naming `where` when it is not one."""
    # Every field: a document without one would read as a registry in which nothing serves.
    needed = [field.name for field in fields(Channels)]
    mend = "restore it from a copy, the last decisions tell what it held"
    what = "the channels of a registry"
    channels = read_document(_CHANNELS, content, where, what, needed=needed, mend=mend)
    try:
        if channels.snooze is not None:
            require_moment(channels.snooze.until)
    except ConfigError as error:
        raise ArtifactError(f"{where}: not {what} (snooze.{error}); {mend}") from None
    return channels


def _without(numbers: Iterable[int], *gone: int) -> tuple[int, ...]:
    return tuple(number for number in numbers if number not in gone)
