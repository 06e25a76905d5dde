"""The document that says what each channel names, and how it is changed."""

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

from slmrec.errors import RegistryConflict
from slmrec.registry.channels import Channels, parse_channels
from slmrec.registry.decisions import Decision, DecisionLog
from slmrec.registry.versions import ATTEMPTS
from slmrec.storage.documents import ABSENT, Document, Documents

_CHANNELS = "channels.json"


class Moves:
    """Channels in one document of a registry, moved by decisions that the log keeps."""

    def __init__(self, documents: Documents, log: DecisionLog) -> None:
        self._documents = documents
        self._log = log
        self.where = documents.uri(_CHANNELS)

    def begun(self) -> bool:
        """Whether anything was ever decided."""
        return self._documents.read(_CHANNELS) is not None

    def channels(self) -> Channels:
        """What each channel names and what led there. Raises `ArtifactError`."""
        return self._parse(self._documents.read(_CHANNELS))

    def make(self, decide: Callable[[Channels], list[Decision]]) -> list[Decision]:
        """Change the channels by decisions on what they are; anew where somebody came first.

        Returns what was decided. Raises `RegistryConflict` when others always came first.
        """
        for _ in range(ATTEMPTS):
            document = self._documents.read(_CHANNELS)
            channels = self._parse(document)
            for decision in channels.newest:  # a crash may have kept them from the log
                self._log.write(decision)
            made = [replace(decision, mark=uuid4().hex) for decision in decide(channels)]
            if not made:
                return []
            generation = ABSENT if document is None else document.generation
            changed = channels.after(*made)
            if self._documents.replace(_CHANNELS, changed.to_json(), generation):
                for decision in made:
                    self._log.write(decision)
                return made
            # Where the answer to a write was lost and somebody decided right after it, nothing but the
            # log tells that it was ours: he has written it there before his own.
            if self._log.holds(made[-1]):
                return made
        raise RegistryConflict(
            f"{self.where}: {ATTEMPTS} times another process changed it first; try "
            "again when fewer runs end at once"
        )

    def _parse(self, document: Document | None) -> Channels:
        if document is None:
            return Channels()
        return parse_channels(document.content, self.where)
