"""The client of Cloud Storage, loaded when the first `gs://` URI is met, and how URIs are read."""

import re
from typing import TYPE_CHECKING

from slmrec.confinement import MOST_BYTES, UNPRINTABLE, climbs, size_of
from slmrec.errors import ConfigError
from slmrec.storage.failures import reaching

if TYPE_CHECKING:
    from google.cloud.storage import Client

SCHEME = "gs://"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_BUCKET = re.compile(r"[a-z0-9]([a-z0-9._-]{0,220}[a-z0-9])?")


def is_remote(uri: str) -> bool:
    """Whether a URI names an object in Cloud Storage rather than a local file."""
    return uri.startswith(SCHEME)


def require_place(place: str) -> None:
    """Raise `ConfigError` for what is neither a path nor `gs://`: another scheme, or no path at all.

    So nobody takes `file:///etc/passwd` for a folder called `file:`.
    """
    scheme = _SCHEME.match(place)
    if scheme is not None and not is_remote(place):
        raise ConfigError(
            f"{place[:200]!r}: a URI of '{scheme[1]}', expected a path or gs://BUCKET/NAME"
        )
    if "\0" in place:
        raise ConfigError(f"{place[:200]!r}: holds a NUL, expected a path or gs://BUCKET/NAME")


def split(uri: str, expected: str) -> tuple[str, str]:
    """Bucket and object name or prefix of a `gs://` URI.

    Raises `ConfigError`, saying what was `expected`, when there is no bucket, or a part that climbs,
    plainly or encoded.
    """
    bucket, separator, name = uri.removeprefix(SCHEME).partition("/")
    if not is_remote(uri) or not bucket or not separator:
        raise ConfigError(f"{uri[:200]}: expected {expected}")
    if _BUCKET.fullmatch(bucket) is None:
        raise ConfigError(
            f"{uri[:200]!r}: no bucket is called that, expected {expected}; a bucket's name is of "
            "a-z, 0-9, '-', '_' and '.'"
        )
    size = size_of(name)
    if size is None or size > MOST_BYTES:
        raise ConfigError(
            f"{uri[:200]!r}: expected an object name of Unicode text, at most {MOST_BYTES} bytes"
        )
    if climbs(name) or UNPRINTABLE.search(name):
        raise ConfigError(
            f"{uri[:200]!r}: expected an object name without '.' or '..' parts, or characters that "
            "cannot be printed"
        )
    return bucket, name


def default_client() -> "Client":
    """A client with the credentials of this machine. Raises `SourceMissingError` without any."""
    from google.cloud.storage import Client

    with reaching(SCHEME, "no client could be made"):
        return Client()
