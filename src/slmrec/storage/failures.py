"""What Cloud Storage answers when it does not do what was asked, told in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from slmrec.errors import SlmrecError, SourceMissingError, first_line
from slmrec.storage.patience import never_connected

_LOG_IN = (
    "log in again ('gcloud auth application-default login'), or let GOOGLE_APPLICATION_CREDENTIALS "
    "name a key file that is valid"
)
_PERMIT = (
    "check which account the credentials belong to, and have it given a role on the bucket such as "
    "roles/storage.objectViewer to read or roles/storage.objectAdmin to write"
)
_PROJECT = (
    "name a project of yours: GOOGLE_CLOUD_PROJECT, or 'gcloud auth application-default "
    "set-quota-project PROJECT'"
)
_NETWORK = "check the network and the proxy"
_BUCKET = "check the bucket's name, or make it"
_ABOUT_A_PROJECT = re.compile(r"\bproject\b|\bbilling\b|userproject", re.IGNORECASE)


@contextmanager
def reaching(uri: str, failure: str) -> Iterator[None]:
    """Tell any failure of Cloud Storage in a sentence: `SourceMissingError`.

    A failure of this machine, such as a full disk, is a `SlmrecError`.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests import RequestException

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse) as error:
        raise SourceMissingError(f"{uri}: {failure} {told(error)}") from error
    except OSError as error:
        here = error.errno is not None and not isinstance(error, RequestException | ConnectionError)
        if here:
            raise SlmrecError(f"{uri}: {failure} ({error}); mend it on this machine") from error
        raise SourceMissingError(f"{uri}: {failure} {told(error)}") from error


def told(error: BaseException) -> str:
    """A failure in words: what happened, in parentheses, and what to do next."""
    from google.api_core.exceptions import RetryError

    if isinstance(error, RetryError) and error.cause is not None:
        what, then = _cause(error.cause)
        return f"(again and again, at last: {what}); {then}"
    what, then = _cause(error)
    return f"({what}); {then}"


def _cause(error: BaseException) -> tuple[str, str]:
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from requests import RequestException

    said = _first_line(error)
    about_a_project = _ABOUT_A_PROJECT.search(said) is not None
    match error:
        case auth.InvalidOperation():
            return f"the credentials are not valid: {said}", _LOG_IN
        case auth.DefaultCredentialsError():
            return "no credentials on this machine", _LOG_IN
        case auth.TransportError():
            return f"the service that renews credentials cannot be reached: {said}", _NETWORK
        case auth.RefreshError() if isinstance(error.__cause__, auth.TransportError):
            return f"the service that renews credentials cannot be reached: {said}", _NETWORK
        case auth.GoogleAuthError() | api.Unauthorized():
            return f"the credentials have expired or are not valid: {said}", _LOG_IN
        case api.NotFound() if "bucket" in said.lower():
            return "the bucket does not exist", _BUCKET
        case api.BadRequest() | api.Forbidden() if about_a_project and "permission 's" not in said:
            return f"the project cannot be used: {said}", _PROJECT
        case api.Forbidden():
            return f"no permission: {said}", _PERMIT
        case RequestException() if never_connected(error):
            url = str(error.request.url) if error.request is not None else ""
            host = urlsplit(url).hostname or "the service"
            return f"{host} cannot be reached", _NETWORK
        case RequestException() | ConnectionError() | TimeoutError():
            return f"the connection broke: {said}", f"{_NETWORK}, and try again"
        case api.PreconditionFailed():
            return "it was replaced meanwhile", "start anew"
        case OSError() if "project was not passed" in said.lower():
            return "no project is set", _PROJECT
        case _:
            return said, "try again; if it stays so, look at the bucket in the Cloud console"


def _first_line(error: BaseException) -> str:
    text = str(error.args[0]) if error.args and isinstance(error.args[0], str) else ""
    return first_line(text if text.strip() else error)
