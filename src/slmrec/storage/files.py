"""Files wherever they are: a local path passes through, `gs://` goes to Cloud Storage."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmrec.errors import ConfigError, RegistryConflict, SourceMissingError
from slmrec.storage.client import SCHEME, default_client, is_remote, require_place, split
from slmrec.storage.failures import reaching
from slmrec.storage.listing import list_blobs, require_bucket
from slmrec.storage.patience import USUAL, Patience, persist
from slmrec.storage.ranges import Report, download
from slmrec.storage.uploads import write

if TYPE_CHECKING:
    from google.cloud.storage import Client


@dataclass(frozen=True)
class ObjectDescription:
    """What Cloud Storage says about one generation of an object."""

    uri: str
    generation: int
    md5: str
    """Base64; empty for composed objects, which have none."""
    crc32c: str
    """Base64."""
    size: int
    """Bytes."""


def describe(
    uri: str, *, client: "Client | None" = None, patience: Patience = USUAL
) -> ObjectDescription:
    """Ask for the current generation of a `gs://` object.

    Without `client` the default credentials are used. Raises `ConfigError` for a malformed URI and
    `SourceMissingError` when the object does not exist or may not be read.
    """
    return _described(uri, _current(uri, client, patience))


def _described(uri: str, blob: Any) -> ObjectDescription:
    return ObjectDescription(
        uri=uri,
        generation=int(blob.generation),
        md5=blob.md5_hash or "",
        crc32c=blob.crc32c or "",
        size=int(blob.size),
    )


def list_objects(
    uri: str, *, client: "Client | None" = None, patience: Patience = USUAL
) -> list[ObjectDescription]:
    """Describe the objects that `gs://BUCKET/PREFIX/` or a `gs://` glob (`*`, `?`, `**`) names.

    In order of name; folders' placeholders are left out. Raises `ConfigError` for a malformed URI
    and `SourceMissingError` when the bucket cannot be listed.
    """
    bucket, pattern = split(uri, "gs://BUCKET/PREFIX/ or gs://BUCKET/GLOB")
    literal = re.split(r"[*?\[]", pattern)[0]
    client = client or default_client()
    with reaching(uri, "could not be listed"):
        blobs = list_blobs(client, bucket, literal, patience)
        found = [_described(f"{SCHEME}{bucket}/{blob.name}", blob) for blob in blobs]
    matches = glob_pattern(pattern) if literal != pattern else re.compile(re.escape(pattern) + ".*")
    names = len(f"{SCHEME}{bucket}/")
    return sorted(
        (
            described
            for described in found
            if matches.fullmatch(described.uri[names:]) and not described.uri.endswith("/")
        ),
        key=lambda described: described.uri,
    )


def glob_pattern(glob: str) -> re.Pattern[str]:
    """Turn a glob into a pattern of whole names: `*` and `?` stay in a folder, `**` does not."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return re.compile("".join(words.get(part) or re.escape(part) for part in parts))


def fetch(
    uri: str,
    destination: Path,
    *,
    client: "Client | None" = None,
    patience: Patience = USUAL,
    report: Report | None = None,
) -> Path:
    """Give a local path with the bytes of `uri`.

    A local path is returned as it is. A `gs://` object is downloaded into the directory
    `destination` under its own name, pinned to the generation that is current now and checked
    against its checksum; `report` is told how far it is. Raises `ConfigError` and
    `SourceMissingError` like `describe`.
    """
    require_place(uri)
    if not is_remote(uri):
        return Path(uri)
    blob = _current(uri, client, patience)
    # The last part of the name only: an object called `a/../../x` stays inside `destination`.
    target = Path(destination) / Path(blob.name).name
    target.parent.mkdir(parents=True, exist_ok=True)
    with reaching(uri, "could not be downloaded"):
        download(blob, target, patience, report)
    return target


@dataclass(frozen=True)
class Destination:
    """An object that is to be written, and what was there when that was decided."""

    blob: Any
    uri: str
    generation: int
    """0: nothing was there."""

    def send(
        self, source: Path, *, patience: Patience = USUAL, report: Report | None = None
    ) -> None:
        """Write a file's bytes as the object, whole or not at all.

        Raises `RegistryConflict` when somebody else has written it since, and `SourceMissingError`.
        """
        with reaching(self.uri, "could not be written"):
            done = write(self.blob, source, self.generation, patience, report=report)
        if not done:
            raise RegistryConflict(
                f"{self.uri}: somebody else wrote it meanwhile; look at it, then start anew or name "
                "another object"
            )


def destination(
    uri: str, *, client: "Client | None" = None, patience: Patience = USUAL
) -> Destination:
    """Look at where an object is to be written, before the work that makes it begins.

    Raises `ConfigError` for a malformed URI and `SourceMissingError` when the bucket is not there or
    cannot be reached.
    """
    _object(uri)
    used = client or default_client()
    there = _there(uri, used, patience)
    bucket, name = _object(uri)
    return Destination(
        used.bucket(bucket).blob(name), uri, 0 if there is None else int(there.generation)
    )


def _object(uri: str) -> tuple[str, str]:
    expected = "gs://BUCKET/OBJECT, naming one object"
    bucket, name = split(uri, expected)
    if not name or name.endswith("/"):
        raise ConfigError(f"{uri}: expected {expected}")
    return bucket, name


def _current(uri: str, client: "Client | None", patience: Patience) -> Any:
    _object(uri)
    blob = _there(uri, client or default_client(), patience)
    if blob is None:
        raise SourceMissingError(f"{uri}: no such object; check its name")
    return blob


def _there(uri: str, client: "Client", patience: Patience) -> Any:
    """The object as it is now; None where the bucket is there and the object is not."""
    bucket, name = _object(uri)

    def attempt() -> Any:
        return client.bucket(bucket).get_blob(name, timeout=patience.silence, retry=None)

    with reaching(uri, "could not be reached"):
        blob = persist(attempt, patience)
        if blob is None:
            require_bucket(client, bucket, patience)
    return blob
