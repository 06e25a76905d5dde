"""The client of Cloud Storage, loaded when the first `gs://` URI is met, and its failures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slmrec.errors import ConfigError, SourceMissingError

if TYPE_CHECKING:
    from google.cloud.storage import Client

SCHEME = "gs://"
TIMEOUT_SECONDS = 60.0


def is_remote(uri: str) -> bool:
    """Whether a URI names an object in Cloud Storage rather than a local file."""
    return uri.startswith(SCHEME)


def split(uri: str, expected: str) -> tuple[str, str]:
    """Bucket and object name or prefix of a `gs://` URI.

    Raises `ConfigError`, saying what was `expected`, when there is no bucket or a part that climbs.
    """
    bucket, separator, name = uri.removeprefix(SCHEME).partition("/")
    if not is_remote(uri) or not bucket or not separator:
        raise ConfigError(f"{uri}: expected {expected}")
    if any(part in ("..", ".") for part in name.split("/")):
        raise ConfigError(f"{uri}: expected an object name without '.' or '..' parts")
    return bucket, name


def default_client() -> "Client":
    """A client with the credentials of this machine. Raises `SourceMissingError` without any."""
    from google.cloud.storage import Client

    with reaching(SCHEME, "no client could be made", "check the credentials"):
        return Client()


@contextmanager
def reaching(uri: str, failure: str, next_step: str) -> Iterator[None]:
    """Tell any failure of Cloud Storage in a line: `SourceMissingError`."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise SourceMissingError(f"{uri}: {failure} ({first}); {next_step}") from error
