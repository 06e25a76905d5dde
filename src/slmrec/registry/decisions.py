"""Who decided what about which version, and why: documents that are only ever added."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from pydantic import Field, TypeAdapter

from slmrec.artifacts import canonical_json, digest_text
from slmrec.registry.reading import read_document
from slmrec.storage.documents import ABSENT, Documents

PROPOSE, PROMOTE, REFUSE, ROLLBACK, PRUNE = "propose", "promote", "refuse", "rollback", "prune"
REJECT, RETRAIN, SNOOZE = "reject", "retrain", "snooze"
"""What only people decide: not this candidate; train anew; let drift be until a moment."""
# Both become part of a file's name, so nothing else may pass for one.
Number = Annotated[int, Field(ge=1)]
"""Of a version or a decision."""
Action = Annotated[
    str, Field(pattern=r"\A(propose|promote|refuse|rollback|prune|reject|retrain|snooze)\z")
]
_FOLDER = "decisions"


@dataclass(frozen=True)
class Decision:
    """One entry of the decision log."""

    number: Number
    """Its place in the log, from 1 without a gap."""
    action: Action
    version: Number | None
    """What it is about; of a rollback, what serves since then; None of a request or a snooze."""
    previous: Number | None
    """What was production when the decision fell."""
    reason: str
    actor: str
    time: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the decision rests on, by name."""
    until: str = ""
    """When a snooze ends, ISO 8601."""
    answers: Number | None = None
    """Of a proposal, the request to train that it answers."""
    mark: str = ""
    """Random: tells a decision whose answer was lost from another one that says the same."""


_DECISION = TypeAdapter(Decision)


class DecisionLog:
    """`decisions/NUMBER-ACTION….json`, each written once.

    The channels hold the newest decisions, too: what a crash kept from the log is written from there.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def read(self) -> list[Decision]:
        """Every decision, oldest first. Raises `ArtifactError` naming one that cannot be read."""
        names = self._documents.names(_FOLDER)
        found = self._documents.read_all(names)
        return [parse_decision(found[name], self._documents.uri(name)) for name in names]

    def write(self, decision: Decision) -> None:
        """Add a decision where it is not there yet."""
        content = canonical_json(asdict(decision)) + "\n"
        self._documents.replace(_name(decision), content.encode(), ABSENT)

    def holds(self, decision: Decision) -> bool:
        """Whether it is this very decision that has the number."""
        document = self._documents.read(_name(decision))
        if document is None:
            return False
        return parse_decision(document.content, self._documents.uri(_name(decision))) == decision

    def refusal(self, refusal: Decision) -> Decision | None:
        """The same version refused on the same evidence for the same reason, earlier."""
        end = f"-{_same(refusal)}.json"
        for name in self._documents.names(_FOLDER):
            document = self._documents.read(name) if name.endswith(end) else None
            if document is not None:
                return parse_decision(document.content, self._documents.uri(name))
        return None


def parse_decision(content: bytes, where: str) -> Decision:
    """Read a decision of the log. Raises `ArtifactError` naming `where`."""
    return read_document(_DECISION, content, where, "a decision")


def _name(decision: Decision) -> str:
    same = f"-{_same(decision)}" if decision.action == REFUSE else ""
    return f"{_FOLDER}/{decision.number:08d}-{decision.action}{same}.json"


def _same(refusal: Decision) -> str:
    """What two refusals share that say the same."""
    said = [refusal.version, refusal.reason, dict(refusal.evidence)]
    return digest_text(canonical_json(said))[:16]
