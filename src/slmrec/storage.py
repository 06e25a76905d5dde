"""Files wherever they are: a local path passes through, `gs://` goes to Cloud Storage.

The only module that imports `google.cloud`, and only when a `gs://` URI is met.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmrec.errors import ConfigError, SourceMissingError

if TYPE_CHECKING:
    from google.cloud.storage import Client

SCHEME = "gs://"
TIMEOUT_SECONDS = 60.0


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


def is_remote(uri: str) -> bool:
    """Whether a URI names an object in Cloud Storage rather than a local file."""
    return uri.startswith(SCHEME)


def describe(
    uri: str, *, client: "Client | None" = None, timeout: float = TIMEOUT_SECONDS
) -> ObjectDescription:
    """Ask for the current generation of a `gs://` object.

    Without `client` the default credentials are used. Raises `ConfigError` for a malformed URI and
    `SourceMissingError` when the object does not exist or may not be read.
    """
    return _described(uri, _current(uri, client, timeout))


def _described(uri: str, blob: Any) -> ObjectDescription:
    return ObjectDescription(
        uri=uri,
        generation=int(blob.generation),
        md5=blob.md5_hash or "",
        crc32c=blob.crc32c or "",
        size=int(blob.size),
    )


def list_objects(
    uri: str, *, client: "Client | None" = None, timeout: float = TIMEOUT_SECONDS
) -> list[ObjectDescription]:
    """Describe the objects that `gs://BUCKET/PREFIX/` or a `gs://` glob (`*`, `?`, `**`) names.

    In order of name; folders' placeholders are left out. Raises `ConfigError` for a malformed URI
    and `SourceMissingError` when the bucket cannot be listed.
    """
    bucket, separator, pattern = uri.removeprefix(SCHEME).partition("/")
    if not is_remote(uri) or not bucket or not separator:
        raise ConfigError(f"{uri}: expected gs://BUCKET/PREFIX/ or gs://BUCKET/GLOB")
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    literal = re.split(r"[*?\[]", pattern)[0]
    try:
        blobs = (client or _default_client()).list_blobs(bucket, prefix=literal, timeout=timeout)
        found = [_described(f"{SCHEME}{bucket}/{blob.name}", blob) for blob in blobs]
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise SourceMissingError(
            f"{uri}: could not be listed ({_first_line(error)}); check the name, the network and "
            "the credentials"
        ) from error
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
    timeout: float = TIMEOUT_SECONDS,
) -> Path:
    """Give a local path with the bytes of `uri`.

    A local path is returned as it is. A `gs://` object is downloaded into the directory
    `destination` under its own name, pinned to the generation that is current now and checked
    against its checksum. Raises `ConfigError` and `SourceMissingError` like `describe`.
    """
    if not is_remote(uri):
        return Path(uri)
    from google.api_core.exceptions import GoogleAPIError

    blob = _current(uri, client, timeout)
    # The last part of the name only: an object called `a/../../x` stays inside `destination`.
    target = Path(destination) / Path(blob.name).name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        blob.download_to_filename(
            str(partial), if_generation_match=blob.generation, timeout=timeout, checksum="crc32c"
        )
        partial.replace(target)
    except (GoogleAPIError, OSError) as error:
        raise SourceMissingError(
            f"{uri}: could not be downloaded ({_first_line(error)}); try again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _current(uri: str, client: "Client | None", timeout: float) -> Any:
    bucket, separator, name = uri.removeprefix(SCHEME).partition("/")
    if not is_remote(uri) or not bucket or not separator or not name or name.endswith("/"):
        raise ConfigError(f"{uri}: expected gs://BUCKET/OBJECT, naming one object")
    if any(part in ("..", ".") for part in name.split("/")):
        raise ConfigError(f"{uri}: expected an object name without '.' or '..' parts")
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        blob = (client or _default_client()).bucket(bucket).get_blob(name, timeout=timeout)
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise SourceMissingError(
            f"{uri}: could not be reached ({_first_line(error)}); check the name, the network and "
            "the credentials"
        ) from error
    if blob is None:
        raise SourceMissingError(f"{uri}: no such object, or no right to read it")
    return blob


def _default_client() -> "Client":
    from google.cloud.storage import Client

    return Client()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
