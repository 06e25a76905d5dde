"""The registry: numbered versions that never change, two channels, and a log, in a folder or bucket.

    versions/000001/       model/, evaluation/, timings/, reference/, claim.json, version.json;
                           model.sig where somebody has signed the model
    origins/               which version a model of one evaluation, code and settings is
    channels.json          which version serves, which is the candidate, and what led there
    decisions/             every proposal, promotion, refusal, rollback and removal; only ever added

A version is claimed by its number and there once `version.json` is, which is written last. Of two
runs that register the same at once, one is the version, and both name it. The channels move by
compare-and-swap: under a lock in a folder, by generation in a bucket. There is no clock here: the
caller says who acts and when.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmrec.artifacts import Artifact
from slmrec.data.listing import Files
from slmrec.errors import ArtifactError, ConfigError, RegistryConflict
from slmrec.progress import Progress
from slmrec.registry.channels import CANDIDATE, PRODUCTION, Channels
from slmrec.registry.decisions import (
    PROMOTE,
    PROPOSE,
    PRUNE,
    REFUSE,
    REJECT,
    RETRAIN,
    ROLLBACK,
    SNOOZE,
    Decision,
    DecisionLog,
)
from slmrec.registry.moments import is_later, require_moment
from slmrec.registry.moves import Moves
from slmrec.registry.signatures import Signatures
from slmrec.registry.versions import MODEL, DataFacts, Origin, Version, Versions
from slmrec.signing import PublicKey
from slmrec.storage.documents import Documents, open_documents


class Registry:
    """The registry in a folder or under `gs://BUCKET/PREFIX`; the first write makes it."""

    def __init__(self, place: Path | str | Documents, trusted: PublicKey | None = None) -> None:
        """`trusted` is the key that models have to be signed with; without one nobody looks."""
        self._documents = open_documents(place) if isinstance(place, Path | str) else place
        self._versions = Versions(self._documents)
        self.signatures = Signatures(self._versions, trusted)
        self._log = DecisionLog(self._documents)
        self._moves = Moves(self._documents, self._log)
        self.place = self._documents.place

    def exists(self) -> bool:
        """Whether anything was ever registered or decided here."""
        return self._moves.begun() or bool(self._versions.claimed())

    def channels(self) -> Channels:
        """What each channel names and what led there. Raises `ArtifactError`."""
        return self._moves.channels()

    def production(self) -> Version | None:
        """The version that serves now; None before the first promotion. Raises `ArtifactError`."""
        return self._named(self.channels().production)

    def candidate(self) -> Version | None:
        """The version that the newest run would have serve; None before the first."""
        return self._named(self.channels().candidate)

    def find(self, name: str) -> Version:
        """The version that `production`, `candidate` or a number names.

        Raises `ConfigError` when it names nothing and `ArtifactError` when the version is not there.
        """
        if name.isdecimal():
            return self.version(int(name))
        if name not in (PRODUCTION, CANDIDATE):
            raise ConfigError(
                f"version: found '{name}', expected '{PRODUCTION}', '{CANDIDATE}' or a number that "
                "'registry list' shows"
            )
        channels = self.channels()
        version = self._named(getattr(channels, name))
        if version is None:
            waiting = channels.candidate
            step = (
                "run the pipeline first"
                if waiting is None
                else f"version {waiting} is the candidate: 'registry show candidate' says why it does "
                "not serve, 'registry promote candidate --reason …' has it serve all the same"
            )
            raise ConfigError(f"{self.place}: there is no {name} yet; {step}")
        return version

    def versions(self) -> list[Version]:
        """Every version, oldest first. Raises `ArtifactError`."""
        return self._versions.all()

    def has(self, number: int) -> bool:
        """Whether there is a version of that number."""
        return self._versions.has(number)

    def version(self, number: int) -> Version:
        """One version. Raises `ArtifactError` when there is none of that number."""
        return self._versions.get(number)

    def artifact(self, number: int, part: str, progress: Progress | None = None) -> Artifact:
        """A version's `model`, `evaluation` or `timings`, each byte checked, in a local folder.

        Raises `ArtifactError` when it is not whole, or a model and not signed by whom one trusts.
        """
        found = self._versions.artifact(number, part, progress)
        if part == MODEL:
            self.signatures.require(number, found)
        return found

    def document(self, number: int, name: str) -> dict[str, Any]:
        """A JSON object among a version's files; an empty one where there is no such file."""
        return self._versions.document(number, name)

    def metrics(self, version: Version) -> dict[str, Any]:
        """What a version's evaluation measured, each byte checked; empty where it is gone."""
        return self._versions.metrics(version)

    def source(self, number: int) -> Files | None:
        """Files of the source that a version was made from; None where they were not recorded."""
        return self._versions.source(number)

    def uri(self, number: int, name: str = "") -> str:
        """Where a version or one of its files lies, as `slmrec.storage.files.fetch` takes it."""
        return self._versions.uri(number, name)

    def decisions(self) -> list[Decision]:
        """Every decision, oldest first. Raises `ArtifactError` naming one that cannot be read."""
        newest = self.channels().newest  # a crash may have kept them from the log
        found = {decision.number: decision for decision in (*newest, *self._log.read())}
        return [found[number] for number in sorted(found)]

    def add(
        self,
        model: Artifact,
        evaluation: Artifact,
        timings: Artifact,
        data: DataFacts,
        *,
        code_digest: str,
        settings_digest: str,
        time: str,
        source: Files | None = None,
        progress: Progress | None = None,
    ) -> Version:
        """Copy a model and its evidence into a new version, with the files that its source had.

        The same model with the same evaluation, from the same code and settings, gives the version
        that is already there, so that a rerun does not grow the registry. Raises `ArtifactError`
        when a copy is not what was read.
        """
        origin = Origin(model.digest, evaluation.digest, code_digest, settings_digest)
        gone = self.channels().removed
        for version in self.versions():
            if version.origin == origin and version.number not in gone:
                return version
        return self._versions.add(
            model,
            evaluation,
            timings,
            data,
            origin,
            gone=gone,
            time=time,
            source=source,
            progress=progress,
        )

    def propose(
        self, version: int, *, reason: str, actor: str, time: str, began: str = ""
    ) -> Version:
        """Make a version the candidate, whatever was; nothing changes where it is already.

        A request to train that stood when the run `began`, ISO 8601, is answered by it.
        """
        checked: set[int] = set()

        def decide(channels: Channels) -> list[Decision]:
            asked = channels.request
            answers = asked is not None and (not began or not is_later(asked.time, began))
            if channels.candidate == version and not answers:
                return []
            self._require(version, channels, checked, signed=False)
            made = channels.decision(PROPOSE, version, reason, actor, time)
            return [replace(made, answers=asked.number if asked and answers else None)]

        self._moves.make(decide)
        return self.version(version)

    def promote(
        self,
        version: int,
        expected_current: int | None,
        *,
        reason: str,
        actor: str,
        time: str,
        evidence: Mapping[str, str] | None = None,
        taken_back: Collection[int] | None = None,
    ) -> Decision:
        """Make `version` production if production still is `expected_current`.

        A run also says what it saw `taken_back`, so that it does not pass a person who takes a version
        back meanwhile. Raises `RegistryConflict` when somebody else decided first, `ArtifactError` when
        the version or its model is not whole.
        """
        checked: set[int] = set()

        def decide(channels: Channels) -> list[Decision]:
            if taken_back is not None and set(taken_back) != set(channels.taken_back):
                raise RegistryConflict(
                    f"{self._moves.where}: somebody rejected a version or rolled back meanwhile; look "
                    f"at 'registry decisions' and decide again about {_spell(version)}"
                )
            if channels.production != expected_current:
                raise RegistryConflict(
                    f"{self._moves.where}: production is {_spell(channels.production)}, "
                    f"expected {_spell(expected_current)}; somebody moved it meanwhile, so look at "
                    f"'registry decisions' and decide again about {_spell(version)}"
                )
            self._require(version, channels, checked)
            return [channels.decision(PROMOTE, version, reason, actor, time, evidence)]

        return self._moves.make(decide)[0]

    def rollback(
        self,
        *,
        reason: str,
        actor: str,
        time: str,
        expected_current: int | None = None,
        evidence: Mapping[str, str] | None = None,
    ) -> Decision:
        """Make production what it was before the present version was promoted.

        A second rollback goes one promotion further back, never forward again; a caller who names
        `expected_current`, what serves as far as he knows, cannot do that by repeating himself. Raises
        `RegistryConflict` when production is another, or there is nothing to go back to, and
        `ArtifactError` when that version or its model is not whole.
        """
        seen: list[int | None] = [] if expected_current is None else [expected_current]
        checked: set[int] = set()

        def decide(channels: Channels) -> list[Decision]:
            seen.append(channels.production)
            if channels.production != seen[0]:
                raise RegistryConflict(
                    f"{self._moves.where}: production was {_spell(seen[0])} and became "
                    f"{_spell(channels.production)} meanwhile; look at 'registry decisions' and "
                    "decide again"
                )
            earlier = next(iter(channels.way_back()), None)
            if channels.production is None or earlier is None:
                raise RegistryConflict(
                    f"{self._moves.where}: production is {_spell(channels.production)} and "
                    "nothing served before it; promote another version instead"
                )
            self._require(earlier, channels, checked)
            return [channels.decision(ROLLBACK, earlier, reason, actor, time, evidence)]

        return self._moves.make(decide)[0]

    def refuse(
        self,
        version: int | None,
        *,
        reason: str,
        actor: str,
        time: str,
        evidence: Mapping[str, str],
    ) -> Decision:
        """Record that a version was not promoted.

        A refusal of the same version on the same evidence for the same reason is recorded once.
        """
        found: list[Decision] = []

        def decide(channels: Channels) -> list[Decision]:
            made = channels.decision(REFUSE, version, reason, actor, time, evidence)
            earlier = self._log.refusal(made)
            found[:] = [earlier or made]
            return [] if earlier else [made]

        return next(iter(self._moves.make(decide)), found[0])

    def reject(
        self,
        version: int,
        *,
        reason: str,
        actor: str,
        time: str,
        evidence: Mapping[str, str] | None = None,
    ) -> Decision | None:
        """Record that a person does not want a version: it is the candidate no longer.

        No run promotes its model by itself any more. None where it was rejected before. Raises
        `RegistryConflict` when it serves.
        """

        def decide(channels: Channels) -> list[Decision]:
            if version == channels.production:
                raise RegistryConflict(
                    f"{self._moves.where}: {_spell(version)} serves; roll back instead of rejecting it"
                )
            self.version(version)
            if version in channels.taken_back and version != channels.candidate:
                return []
            return [channels.decision(REJECT, version, reason, actor, time, evidence)]

        return next(iter(self._moves.make(decide)), None)

    def ask_retraining(
        self,
        *,
        reason: str,
        actor: str,
        time: str,
        evidence: Mapping[str, str] | None = None,
    ) -> Decision | None:
        """Have the next run train; None where somebody has asked already."""

        def decide(channels: Channels) -> list[Decision]:
            if channels.request is not None:
                return []
            return [channels.decision(RETRAIN, None, reason, actor, time, evidence)]

        return next(iter(self._moves.make(decide)), None)

    def snooze(
        self,
        until: str,
        *,
        reason: str,
        actor: str,
        time: str,
        evidence: Mapping[str, str] | None = None,
    ) -> Decision | None:
        """Let drift be no reason to train until a moment, ISO 8601; None where it is so already.

        Raises `ConfigError` when it is no moment with a time zone.
        """
        require_moment(until)

        def decide(channels: Channels) -> list[Decision]:
            if channels.snooze is not None and channels.snooze.until == until:
                return []
            made = channels.decision(SNOOZE, None, reason, actor, time, evidence)
            return [replace(made, until=until)]

        return next(iter(self._moves.make(decide)), None)

    def prune(self, keep: int, *, actor: str, time: str) -> list[int]:
        """Remove all but the newest `keep` versions and those that the channels need.

        They need production, the candidate, what a rollback would bring back, and what one took back,
        by which a run knows not to promote it again. Returns the numbers that were removed; each is in
        the decision log before its files go. What an addition or a removal that was cut short has left
        goes, too. `keep` is at least 1.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}, expected at least 1")

        def decide(channels: Channels) -> list[Decision]:
            # Looked up after the channels were read: whatever a run proposes later changes them first.
            whole = self._versions.numbers()
            there = [number for number in whole if number not in channels.removed]
            newest = there[-keep:]
            needed = {channels.production, channels.candidate, *channels.way_back()[:1]}
            needed |= {*channels.taken_back, *channels.removed, *newest}
            gone = [
                number
                for number in self._versions.claimed()
                if number not in needed and number < min(newest, default=0)
            ]
            reasons = dict.fromkeys(whole, f"only the newest {keep} versions are kept")
            return [
                channels.decision(
                    PRUNE,
                    number,
                    reasons.get(number, "an addition that was never finished"),
                    actor,
                    time,
                    place=place,
                )
                for place, number in enumerate(gone)
            ]

        made = self._moves.make(decide)
        removed = self.channels().removed
        for number in self._versions.claimed():
            if number in removed:
                self._versions.remove(number)
        return [decision.version for decision in made if decision.version is not None]

    def _require(
        self, number: int, channels: Channels, checked: set[int], *, signed: bool = True
    ) -> None:
        """The version is there and its model whole, which is looked at once for a decision.

        A candidate may wait for its signature; what is to serve may not.
        """
        if number in channels.removed:
            raise ArtifactError(f"{self.uri(number)}: removed by a pruning; name another version")
        if number not in checked:
            self.version(number)
            (self if signed else self._versions).artifact(number, MODEL)
            checked.add(number)

    def _named(self, number: int | None) -> Version | None:
        return None if number is None else self.version(number)


def _spell(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
