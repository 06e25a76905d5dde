"""Registered models by number: claimed, filled, and from then on never changed.

A version is there once its `version.json` is, which is written last.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from slmrec.artifacts import MANIFEST, Artifact, canonical_json, digest_text, open_artifact
from slmrec.data.listing import Files, parse_files
from slmrec.errors import ArtifactError, RegistryConflict
from slmrec.progress import Progress
from slmrec.registry.decisions import Number
from slmrec.registry.reading import read_document
from slmrec.storage.documents import ABSENT, Documents

MODEL, EVALUATION, TIMINGS = "model", "evaluation", "timings"
METRICS = "metrics.json"
SIGNATURE = "model.sig"
"""Beside the model, which it is of."""
ITEM_TABLE = "items.parquet"
"""Of a version's model: which items it knows."""
ATTEMPTS = 200
"""How often something is tried again after somebody else came first."""
_FOLDER, _ORIGINS = "versions", "origins"
_SOURCE = "reference/source.json"
_WHOLE = re.compile(rf"{_FOLDER}/([0-9]{{6,}})/version\.json")
_CLAIMED = re.compile(rf"{_FOLDER}/([0-9]{{6,}})/.+")


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
    trained_until: int = 0
    """Newest timestamp that was trained on, seconds; 0 where it was not recorded."""
    order_only: bool = False
    """Whether the log has no times: `last` and `trained_until` are positions in a history."""

    @property
    def newest(self) -> int | None:
        """Moment of the newest interaction; None where the log has no times."""
        return None if self.order_only else self.last


@dataclass(frozen=True)
class Origin:
    """What makes two registered models the same."""

    model_digest: str
    evaluation_digest: str
    code_digest: str
    settings_digest: str
    """Of the settings that decide what is trained."""


@dataclass(frozen=True)
class Version:
    """One registered model with its evidence."""

    number: Number
    name: str
    """The variant's name."""
    model_digest: str
    evaluation_digest: str
    code_digest: str
    settings_digest: str
    data: DataFacts
    added: str
    """When, as the caller said."""

    @property
    def origin(self) -> Origin:
        """What another version shares that is the same."""
        return Origin(
            self.model_digest, self.evaluation_digest, self.code_digest, self.settings_digest
        )


_VERSION = TypeAdapter(Version)


class Versions:
    """`versions/NUMBER/` in the place of a registry."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def numbers(self) -> list[int]:
        """Of every version, oldest first."""
        return _matching(self._documents.names(_FOLDER), _WHOLE)

    def claimed(self) -> list[int]:
        """Numbers with any file: versions, and what an addition or a removal has left unfinished."""
        return _matching(self._documents.names(_FOLDER), _CLAIMED)

    def all(self) -> list[Version]:
        """Every version, oldest first. Raises `ArtifactError`."""
        found = self._documents.read_all(map(_record, self.numbers()))
        return [self._parse(name, found[name]) for name in sorted(found, key=_number)]

    def has(self, number: int) -> bool:
        """Whether there is a version of that number."""
        return self._documents.read(_record(number)) is not None

    def get(self, number: int) -> Version:
        """One version. Raises `ArtifactError` when there is none of that number."""
        document = self._documents.read(_record(number))
        if document is None:
            raise ArtifactError(
                f"{self._documents.uri(_record(number))}: missing; name a version that 'registry list' "
                "shows, or restore the registry"
            )
        return self._parse(_record(number), document.content)

    def artifact(self, number: int, part: str, progress: Progress | None = None) -> Artifact:
        """A version's `model`, `evaluation` or `timings`, each byte checked, in a local folder.

        Raises `ArtifactError` when it is not whole.
        """
        try:
            return open_artifact(self._documents.fetch(f"{_folder(number)}/{part}", progress))
        except ArtifactError as error:
            raise ArtifactError(
                f"{self.uri(number, part)}: not whole ({error}); restore the registry from a copy, or "
                "name another version"
            ) from None

    def document(self, number: int, name: str) -> dict[str, Any]:
        """A JSON object among a version's files; an empty one where there is no such file."""
        document = self._documents.read(f"{_folder(number)}/{name}")
        return {} if document is None else _parsed(document.content, self.uri(number, name))

    def metrics(self, version: Version) -> dict[str, Any]:
        """What a version's evaluation measured, of the very bytes that its digest vouches for.

        Empty where they are gone. Raises `ArtifactError` when they are others.
        """
        names = [f"{_folder(version.number)}/{EVALUATION}/{file}" for file in (MANIFEST, METRICS)]
        found = self._documents.read_all(names)
        if len(found) < len(names):
            return {}
        manifest, metrics = (_parsed(found[name], self._documents.uri(name)) for name in names)
        digest = hashlib.sha256(found[names[1]]).hexdigest()
        if (
            digest_text(canonical_json(manifest)) != version.evaluation_digest
            or manifest["files"][METRICS]["sha256"] != digest
        ):
            raise ArtifactError(
                f"{self._documents.uri(names[1])}: not what the evaluation wrote; restore the registry "
                "from a copy"
            )
        return metrics

    def source(self, number: int) -> Files | None:
        """Files of the source that a version was made from; None where they were not recorded.

        Raises `ArtifactError` when the record cannot be read.
        """
        found = self.document(number, _SOURCE)
        try:
            return parse_files(found) if found else None
        except ValueError as error:
            raise ArtifactError(
                f"{self.uri(number, _SOURCE)}: not the files of a source ({error}); restore the "
                "registry from a copy"
            ) from None

    def signature(self, number: int) -> bytes | None:
        """The signature of a version's model; None where nobody has signed it."""
        document = self._documents.read(_signature(number))
        return None if document is None else document.content

    def sign(self, number: int, signature: bytes) -> None:
        """Keep a signature of a version's model, in the place of any that was there."""
        before = self._documents.read(_signature(number))
        generation = ABSENT if before is None else before.generation
        if not self._documents.replace(_signature(number), signature, generation):
            raise RegistryConflict(
                f"{self.uri(number, SIGNATURE)}: somebody else signed it meanwhile; try again"
            )

    def uri(self, number: int, name: str = "") -> str:
        """Where a version or one of its files lies, as `slmrec.storage.files.fetch` takes it."""
        return self._documents.uri(f"{_folder(number)}/{name}".rstrip("/"))

    def add(
        self,
        model: Artifact,
        evaluation: Artifact,
        timings: Artifact,
        data: DataFacts,
        origin: Origin,
        *,
        gone: Sequence[int],
        time: str,
        source: Files | None = None,
        progress: Progress | None = None,
    ) -> Version:
        """Copy a model and its evidence under a number of its own, which none in `gone` has had."""
        claim = {**asdict(origin), "timings_digest": timings.digest, "data": asdict(data)}
        number = self._claim(_document(claim), gone)
        for name, artifact in ((MODEL, model), (EVALUATION, evaluation), (TIMINGS, timings)):
            files = (*sorted(artifact.files), MANIFEST)
            self._documents.put_all(
                {f"{_folder(number)}/{name}/{file}": artifact.path / file for file in files},
                progress,
            )
            if self.artifact(number, name).digest != artifact.digest:
                raise ArtifactError(
                    f"{artifact.path}: changed while it was copied; run the pipeline again"
                )
        if source is not None:
            self._documents.replace(f"{_folder(number)}/{_SOURCE}", _document(source), ABSENT)
        name = str(model.properties["name"])
        facts = f"{_folder(number)}/reference/facts.json"
        self._documents.replace(facts, _document(asdict(data)), ABSENT)
        added = Version(number, name, **asdict(origin), data=data, added=time)
        first = self._first(added, gone)
        self._documents.replace(_record(first.number), _document(asdict(first)), ABSENT)
        if first.number != number:
            self.remove(number)
        return self.get(first.number)

    def _first(self, added: Version, gone: Sequence[int]) -> Version:
        """What this origin is registered as: `added`, unless another addition of it was faster.

        Both are whole but for `version.json`, so whoever comes second may write that for the first.
        """
        name, content = _origin_name(added.origin), _document(asdict(added))
        for _ in range(ATTEMPTS):
            document = self._documents.read(name)
            if document is not None:
                first = self._registered(name, document.content)
                if first.number not in gone and first.number in self.claimed():
                    return first
            expected = ABSENT if document is None else document.generation
            if self._documents.replace(name, content, expected):
                return added
        raise self._overtaken()

    def _registered(self, name: str, content: bytes) -> Version:
        where = self._documents.uri(name)
        number = _parsed(content, where).get("number")
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ArtifactError(
                f"{where}: names version {str(number)[:60]!r}, expected a number; remove the file and "
                "run the pipeline again"
            )
        return self._parse(_record(number), content)

    def _overtaken(self) -> RegistryConflict:
        return RegistryConflict(
            f"{self._documents.place}: {ATTEMPTS} times another run was faster; try again when fewer "
            "runs end at once"
        )

    def remove(self, number: int) -> None:
        """Remove all files of a number; it is no version from the first on."""
        self._documents.remove([_record(number)])
        self._documents.remove(self._documents.names(_folder(number)))

    def _claim(self, claim: bytes, gone: Sequence[int]) -> int:
        """A number that nobody else writes to, or that of an addition of the same bytes."""
        for _ in range(ATTEMPTS):
            claimed = self.claimed()
            unfinished = sorted({*claimed} - {*self.numbers(), *gone})
            found = self._documents.read_all(map(_claim_name, unfinished))
            for name, content in found.items():
                if content == claim:
                    return _number(name)
            number = max((*claimed, *gone), default=0) + 1
            if self._documents.replace(_claim_name(number), claim, ABSENT):
                return number
        raise self._overtaken()

    def _parse(self, name: str, content: bytes) -> Version:
        where = self._documents.uri(name)
        mend = "restore the registry from a copy"
        version = read_document(_VERSION, content, where, "a version of this registry", mend=mend)
        # A number is a folder's name: another one than its own would lead to another folder.
        if version.number != _number(name):
            raise ArtifactError(
                f"{where}: says that it is version {version.number}, expected {_number(name)}; {mend}"
            )
        return version


def _matching(names: list[str], pattern: re.Pattern[str]) -> list[int]:
    matches = (pattern.fullmatch(name) for name in names)
    return sorted({int(match[1]) for match in matches if match})


def _folder(number: int) -> str:
    return f"{_FOLDER}/{number:06d}"


def _record(number: int) -> str:
    return f"{_folder(number)}/version.json"


def _signature(number: int) -> str:
    return f"{_folder(number)}/{SIGNATURE}"


def _origin_name(origin: Origin) -> str:
    return f"{_ORIGINS}/{digest_text(canonical_json(asdict(origin)))}.json"


def _claim_name(number: int) -> str:
    return f"{_folder(number)}/claim.json"


def _number(name: str) -> int:
    return int(name.split("/")[1])


def _document(content: Mapping[str, Any]) -> bytes:
    return (canonical_json(content) + "\n").encode()


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{where}: not valid JSON ({error}); restore the registry from a copy"
        ) from None
    if not isinstance(found, dict):
        raise ArtifactError(
            f"{where}: holds a {type(found).__name__}, expected an object; restore the registry"
        )
    return found
