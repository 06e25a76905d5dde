"""Who decided what about which version, and why: documents that are only ever added."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from slmrec.artifacts import canonical_json, digest_text
from slmrec.errors import ArtifactError
from slmrec.storage.documents import ABSENT, Documents

PROPOSE, PROMOTE, REFUSE, ROLLBACK, PRUNE = "propose", "promote", "refuse", "rollback", "prune"
REJECT, RETRAIN, SNOOZE = "reject", "retrain", "snooze"
"""What only people decide: not this candidate; train anew; let drift be until a moment."""
ACTIONS = frozenset({PROPOSE, PROMOTE, REFUSE, ROLLBACK, PRUNE, REJECT, RETRAIN, SNOOZE})
_FOLDER = "decisions"


@dataclass(frozen=True)
class Decision:
    """One entry of the decision log."""

    number: int
    """Its place in the log, from 1 without a gap."""
    action: str
    """`propose`, `promote`, `refuse`, `rollback`, `prune`, `reject`, `retrain` or `snooze`."""
    version: int | None
    """What it is about; of a rollback, what serves since then; None of a request or a snooze."""
    previous: int | None
    """What was production when the decision fell."""
    reason: str
    actor: str
    time: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the decision rests on, by name."""
    until: str = ""
    """When a snooze ends, ISO 8601."""
    answers: int | None = None
    """Of a proposal, the request to train that it answers."""
    mark: str = ""
    """Random: tells a decision whose answer was lost from another one that says the same."""


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


def parse_decision(content: bytes | Mapping[str, object], where: str) -> Decision:
    """Build a decision from what `asdict` made of one. Raises `ArtifactError` naming `where`."""
    try:
        found = json.loads(content) if isinstance(content, bytes) else content
        decision = Decision(**found)
    except (ValueError, TypeError):
        decision = None
    # Number and action are a file's name.
    if decision is None or decision.action not in ACTIONS or not is_number(decision.number):
        raise ArtifactError(
            f"{where}: not a decision, found {str(content)[:60]}; restore it from a copy"
        )
    return decision


def is_number(value: object) -> bool:
    """Whether a value of a document is the number of a version or a decision."""
    return type(value) is int and value >= 1


def _name(decision: Decision) -> str:
    same = f"-{_same(decision)}" if decision.action == REFUSE else ""
    return f"{_FOLDER}/{decision.number:08d}-{decision.action}{same}.json"


def _same(refusal: Decision) -> str:
    """What two refusals share that say the same."""
    said = [refusal.version, refusal.reason, dict(refusal.evidence)]
    return digest_text(canonical_json(said))[:16]
