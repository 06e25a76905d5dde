"""The model registry: immutable numbered versions and one movable pointer, in a local folder.

    versions/000001/            model/, evaluation/, timings/, reference/, version.json
    channels/production.json    which version serves, and who moved it there, when and why
    decisions.jsonl             every promotion, refusal, rollback and removal; only ever appended to

A version is written aside and renamed whole. The pointer moves by compare-and-swap under a file
lock. There is no clock here: the caller says who acts and when.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slmrec.artifacts import Artifact, open_artifact, write_json
from slmrec.decision_log import PROMOTE, PRUNE, REFUSE, ROLLBACK, Decision, DecisionLog
from slmrec.errors import ArtifactError, RegistryConflict

LOCK_SECONDS = 60.0
_NUMBER = re.compile(r"[0-9]{6,}")


@dataclass(frozen=True)
class DataFacts:
    """The log a version was made from, held-out part included, as far as later runs need to know."""

    sequences_digest: str
    interactions: int
    last: int
    """Newest timestamp, seconds since 1970."""
    source_digest: str = ""
    """Of the source; empty in versions from before it was recorded."""
    log_interactions: int = 0
    """Rows of the canonical log, before deduplication and k-core; 0 where it was not recorded."""


@dataclass(frozen=True)
class Version:
    """One registered model with its evidence."""

    number: int
    path: Path
    name: str
    """The variant's name."""
    model_digest: str
    evaluation_digest: str
    code_digest: str
    settings_digest: str
    """Of the settings that decide what is trained."""
    data: DataFacts
    added: str
    """When, as the caller said."""


class Registry:
    """A registry folder; it is made by the first write."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._versions = self.path / "versions"
        self._pointer = self.path / "channels" / "production.json"
        self._log = DecisionLog(self.path / "decisions.jsonl")

    def production(self) -> Version | None:
        """The version that serves now; None before the first promotion. Raises `ArtifactError`."""
        number = self._current()
        return None if number is None else self.version(number)

    def versions(self) -> list[Version]:
        """Every version, oldest first. Raises `ArtifactError`."""
        if not self._versions.is_dir():
            return []
        names = [path.name for path in self._versions.iterdir() if _NUMBER.fullmatch(path.name)]
        return [self.version(number) for number in sorted(map(int, names))]

    def has(self, number: int) -> bool:
        """Whether there is a version of that number."""
        return self._folder(number).is_dir()

    def version(self, number: int) -> Version:
        """One version. Raises `ArtifactError` when there is none of that number."""
        path = self._folder(number)
        content = _read_json(path / "version.json")
        try:
            return Version(path=path, **{**content, "data": DataFacts(**content["data"])})
        except (TypeError, KeyError) as error:
            raise ArtifactError(
                f"{path / 'version.json'}: not a version of this registry ({error}); "
                "restore the registry from a copy"
            ) from None

    def decisions(self) -> list[Decision]:
        """Every recorded decision, oldest first. Raises `ArtifactError` naming a broken line."""
        return self._log.decisions()

    def taken_back(self) -> set[int]:
        """Versions that a rollback took back and nobody has promoted since."""
        return self._log.taken_back()

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
    ) -> Version:
        """Copy a model and its evidence into a new version.

        The same model with the same evaluation, from the same code and settings, gives the version
        that is already there, so that a rerun does not grow the registry. Raises `ArtifactError`
        when a copy is not what was read.
        """
        with self._locked():
            known = self.versions()
            for version in known:
                if (
                    version.model_digest,
                    version.evaluation_digest,
                    version.code_digest,
                    version.settings_digest,
                ) == (model.digest, evaluation.digest, code_digest, settings_digest):
                    return version
            number = max((version.number for version in known), default=0) + 1
            staging = self._versions / f".partial-{number:06d}"
            shutil.rmtree(staging, ignore_errors=True)  # left by a writer that was killed
            staging.mkdir(parents=True)
            for name, artifact in (
                ("model", model),
                ("evaluation", evaluation),
                ("timings", timings),
            ):
                shutil.copytree(artifact.path, staging / name)
                if open_artifact(staging / name).digest != artifact.digest:
                    raise ArtifactError(
                        f"{artifact.path}: changed while it was copied; run the pipeline again"
                    )
            (staging / "reference").mkdir()
            write_json(staging / "reference" / "facts.json", asdict(data))
            write_json(
                staging / "version.json",
                {
                    "number": number,
                    "name": str(model.properties["name"]),
                    "model_digest": model.digest,
                    "evaluation_digest": evaluation.digest,
                    "code_digest": code_digest,
                    "settings_digest": settings_digest,
                    "data": asdict(data),
                    "added": time,
                },
            )
            for path in staging.rglob("*"):
                _sync(path)
            _sync(staging)
            staging.rename(self._folder(number))
            _sync(self._versions)
            return self.version(number)

    def promote(
        self,
        version: int,
        expected_current: int | None,
        *,
        reason: str,
        actor: str,
        time: str,
        evidence: Mapping[str, str] | None = None,
    ) -> Decision:
        """Make `version` production if production still is `expected_current`.

        Raises `RegistryConflict` when somebody else moved the pointer first, `ArtifactError` when the
        version or its model is not whole.
        """
        with self._locked():
            current = self._current()
            if current != expected_current:
                raise RegistryConflict(
                    f"{self._pointer}: production is {_spell(current)}, expected "
                    f"{_spell(expected_current)}; somebody moved it meanwhile, so look at "
                    f"decisions.jsonl and decide again about {_spell(version)}"
                )
            decision = Decision(
                PROMOTE, version, current, reason, actor, time, dict(evidence or {})
            )
            return self._point(decision)

    def rollback(self, *, reason: str, actor: str, time: str) -> Decision:
        """Make production what it was before the present version was promoted.

        A second rollback goes one promotion further back, never forward again. Raises
        `RegistryConflict` when there is nothing to go back to, `ArtifactError` when that version or its
        model is not whole.
        """
        with self._locked():
            current = self._current()
            earlier = self._way_back(current)
            if current is None or earlier is None:
                raise RegistryConflict(
                    f"{self._pointer}: production is {_spell(current)} and nothing served before it; "
                    "promote another version instead"
                )
            return self._point(Decision(ROLLBACK, earlier, current, reason, actor, time))

    def prune(self, keep: int, *, actor: str, time: str) -> list[int]:
        """Remove all but the newest `keep` versions, production and what a rollback would bring back.

        Returns the numbers that were removed; each is a line of the decision log. `keep` is at least 1.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}, expected at least 1")
        with self._locked():
            for left in self._versions.glob(".removed-*"):  # by a removal that was cut short
                shutil.rmtree(left)
            numbers = [version.number for version in self.versions()]
            current = self._current()
            needed = {current, self._way_back(current), *numbers[-keep:]}
            removed = [number for number in numbers if number not in needed]
            for number in removed:
                # The decision comes first, so that nothing disappears without a reason.
                reason = f"only the newest {keep} versions are kept"
                self._log.append(Decision(PRUNE, number, current, reason, actor, time))
                aside = self._versions / f".removed-{number:06d}"
                self._folder(number).rename(aside)
                shutil.rmtree(aside)
            return removed

    def _way_back(self, current: int | None) -> int | None:
        """What a rollback brings back: the last version that served and is another than this."""
        return next((number for number in reversed(self._log.served()) if number != current), None)

    def _catch_up(self) -> None:
        """Write down the decision of the pointer where a crash kept it from the log."""
        if not self._pointer.exists():
            return
        content = _read_json(self._pointer)
        newest = self._log.newest_move()
        if newest is None or asdict(newest) != content:
            with suppress(TypeError):  # a pointer that is no decision is named where it is read
                self._log.append(Decision(**content))

    def _point(self, decision: Decision) -> Decision:
        """Move the pointer to the version of a decision, under the lock."""
        assert decision.version is not None
        open_artifact(self.version(decision.version).path / "model")
        # The pointer holds the whole decision: after a crash here the next writer logs it.
        _replace_json(self._pointer, asdict(decision))
        self._log.append(decision)
        return decision

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
        with self._locked():
            decision = Decision(
                REFUSE, version, self._current(), reason, actor, time, dict(evidence)
            )
            for earlier in self._log.readable():
                if (
                    earlier.action == REFUSE
                    and earlier.version == version
                    and earlier.reason == reason
                    and earlier.evidence == decision.evidence
                ):
                    return earlier
            self._log.append(decision)
            return decision

    def _folder(self, number: int) -> Path:
        return self._versions / f"{number:06d}"

    def _current(self) -> int | None:
        if not self._pointer.exists():
            return None
        number = _read_json(self._pointer).get("version")
        if not isinstance(number, int):
            raise ArtifactError(
                f"{self._pointer}: version is {number!r}, expected a number; restore it from the "
                "last promotion in decisions.jsonl"
            )
        return number

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / "registry.lock", timeout=LOCK_SECONDS, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            raise RegistryConflict(
                f"{self.path / 'registry.lock'}: held by another process for more than "
                f"{LOCK_SECONDS:.0f} s; wait for that run to end and try again"
            ) from None
        try:
            self._catch_up()
            yield
        finally:
            lock.release()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: missing; name a version that 'registry' lists, or restore the registry"
        ) from None
    except ValueError as error:
        raise ArtifactError(
            f"{path}: not valid JSON ({error}); restore the registry from a copy"
        ) from None
    if not isinstance(content, dict):
        raise ArtifactError(
            f"{path}: holds a {type(content).__name__}, expected an object; restore the registry"
        )
    return content


def _replace_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    write_json(aside, content)
    _sync(aside)
    os.replace(aside, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _spell(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
