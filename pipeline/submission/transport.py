"""Requests, one way for every service: with deadlines, without redirects, failures in a sentence."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode, urljoin, urlsplit

from slmrec.errors import ConfigError, SlmrecError
from slmrec.storage.patience import never_connected

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
_SHOWN = 300
"""Characters of a server's own words that are shown."""
_PERHAPS_DONE = "it may have been done all the same, so look before you try again"


class SubmissionError(SlmrecError):
    """The service was reached and did not do what it was asked for; exit code 4."""


class UnansweredError(SubmissionError):
    """Nobody knows whether the service did it; it may have."""


@dataclass(frozen=True)
class Request:
    """One request; what it is for stands in the message when it fails."""

    purpose: str
    method: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    """Sent as JSON."""
    upload: str | None = None
    """A document that is sent instead of a body."""
    form: str = ""
    """The form's field that the upload is sent in; empty where it is the whole body."""
    tolerated: tuple[int, ...] = ()
    """Statuses that are answers, not failures: they give an empty answer."""


class Transport(Protocol):
    """Whatever carries requests: the network, or a list of what would have been sent."""

    def send(self, request: Request) -> dict[str, Any]:
        """Send a request and give the JSON of its answer."""


@dataclass(frozen=True)
class Advice:
    """What somebody can do, by what went wrong."""

    unreachable: str
    unauthorised: str
    forbidden: str
    not_found: str


class Http:
    """A `Transport` over the network.

    `call` is the `request` method of a session of requests. Raises `ConfigError` where the address,
    the credentials or the rights are wrong, and `SubmissionError` for everything else.
    """

    def __init__(self, call: Callable[..., "Response"], advice: Advice, secret: str = "") -> None:
        self._call = call
        self._advice = advice
        self._secret = secret

    def send(self, request: Request) -> dict[str, Any]:
        """Send a request and give the JSON of its answer."""
        content: dict[str, Any] = {}
        if request.upload is not None and request.form:
            content["files"] = {request.form: ("pipeline.yaml", request.upload.encode())}
        elif request.upload is not None:
            content["data"] = request.upload.encode()
            content["headers"] = {"Content-Type": "application/yaml"}
        elif request.body is not None:
            content["data"] = json.dumps(request.body, allow_nan=False).encode()
            content["headers"] = {"Content-Type": "application/json"}
        response = self._sent(request, content)
        if response.status_code in request.tolerated:
            return {}
        try:
            answer = json.loads(response.content or b"{}", object_hook=Answer)
        except ValueError:
            answer = None
        if not isinstance(answer, Answer):
            raise ConfigError(
                f"{_what(request)}: answers with something else than its API's JSON; "
                f"{self._advice.not_found}"
            )
        return answer

    def exchange(self, request: Request, content: bytes, kind: str) -> bytes:
        """Send bytes of a media type, and give those of the answer."""
        headers = {"Content-Type": kind, "Accept": kind}
        return self._sent(request, {"data": content, "headers": headers}).content

    def _sent(self, request: Request, content: Mapping[str, Any]) -> "Response":
        """The answer to a request where it is one that was hoped for, or tolerated."""
        import requests
        from google.auth.exceptions import GoogleAuthError

        what = _what(request)
        try:
            response = self._call(
                request.method,
                request.url,
                params=dict(request.query),
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
                **content,
            )
        except GoogleAuthError as error:
            raise ConfigError(
                f"{what}: the credentials cannot be used ({self._told(str(error))}); "
                f"{self._advice.unauthorised}"
            ) from None
        except (requests.RequestException, OSError) as error:
            if isinstance(error, requests.ReadTimeout):
                raise _unfinished(request)(
                    f"{what}: no answer in {ANSWER_SECONDS:g} seconds; {_PERHAPS_DONE}"
                ) from None
            if _broke(error):
                raise _unfinished(request)(
                    f"{what}: the connection broke ({_cause(error)}); {_PERHAPS_DONE}"
                ) from None
            raise ConfigError(
                f"{what}: cannot be reached ({_cause(error)}); {self._advice.unreachable}"
            ) from None
        if response.status_code not in request.tolerated:
            self._refuse(request, response, what)
        return response

    def _refuse(self, request: Request, response: "Response", what: str) -> None:
        status = response.status_code
        told = f"({status}: {self._told(_words(response))})"
        if 300 <= status < 400:
            there = _place(urljoin(request.url, response.headers.get("Location", "")))
            raise ConfigError(
                f"{what}: leads on to {there} {told}; name that address if it is the service, and "
                f"if it is where people log in, {self._advice.unauthorised}"
            )
        if status == 401:
            raise ConfigError(f"{what}: does not know who asks {told}; {self._advice.unauthorised}")
        if status == 403:
            raise ConfigError(f"{what}: not permitted {told}; {self._advice.forbidden}")
        if status == 404:
            raise ConfigError(f"{what}: not found {told}; {self._advice.not_found}")
        if not response.ok:
            # A gateway says 500 and more, too, of a request that is still at work behind it.
            error = _unfinished(request) if status >= 500 else SubmissionError
            raise error(f"{what}: refused {told}")

    def _told(self, text: str) -> str:
        line = " ".join(text.split())
        return (line.replace(self._secret, "…") if self._secret else line)[:_SHOWN]


class Answer(dict[str, Any]):
    """An object in an answer; what it should have and has not is the service's failure, not a bug."""

    def __missing__(self, key: str) -> Any:
        raise SubmissionError(f"the service answers without '{key}'; is it the right one?")


class Unknown(dict[str, Any]):
    """An answer that nobody gave: what is asked of it is named in angle brackets."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"

    def __bool__(self) -> bool:
        return True


class DryRun:
    """A `Transport` that keeps requests instead of sending them, and finds nothing anywhere."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def send(self, request: Request) -> dict[str, Any]:
        """Keep a request."""
        query = f"?{urlencode(request.query)}" if request.query else ""
        kept: dict[str, Any] = {"method": request.method, "url": request.url + query}
        if request.body is not None:
            kept["body"] = request.body
        if request.upload is not None:
            content = request.upload.encode()
            kept["upload"] = {
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
            }
        self.requests.append(kept)
        return {} if request.method == "GET" else Unknown()


def no_other_credentials(prepared: "PreparedRequest") -> "PreparedRequest":
    """The `auth` of a session that is to send its own credentials, whatever a .netrc file says."""
    return prepared


def check_address(option: str, address: str) -> str:
    """An address without its last slash. Raises `ConfigError` when it is not one."""
    if "@" in address:  # before it is read, so that no message can hold it
        raise ConfigError(f"{option}: an address with credentials in it; leave them out")
    try:
        parts = urlsplit(address)
        named = parts.hostname and (parts.port or True)
    except ValueError:
        parts, named = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not named or parts.query or parts.fragment:
        raise ConfigError(f"{option} {address}: expected an address such as https://example.org")
    return address.rstrip("/")


def _unfinished(request: Request) -> type[SubmissionError]:
    """What to raise where a request may go on although nobody hears of it."""
    return SubmissionError if request.method == "GET" else UnansweredError


def _broke(error: Exception) -> bool:
    """Whether somebody was reached and then lost, in the middle of the question or of the answer."""
    from requests import exceptions

    if isinstance(error, exceptions.SSLError | exceptions.ProxyError) or never_connected(error):
        return False
    return isinstance(error, exceptions.ConnectionError | exceptions.ChunkedEncodingError)


def _what(request: Request) -> str:
    return f"cannot {request.purpose}: {_place(request.url)}"


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _words(response: "Response") -> str:
    """What a service says of its failure; both kinds of service put it elsewhere."""
    try:
        told = response.json()
    except ValueError:
        return response.reason or "no reason given"
    for key in ("error", "message"):
        if isinstance(told, dict) and told.get(key):
            told = told[key]
            if isinstance(told, dict):
                told = told.get("message", "no reason given")
            return str(told)
    return response.reason or "no reason given"


def _cause(error: BaseException) -> str:
    """The innermost reason that the operating system gave."""
    seen: BaseException | None = error
    for _ in range(10):
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        inner = getattr(seen, "reason", None) or next(iter(getattr(seen, "args", ())), None)
        cause = (seen.__cause__ or seen.__context__) if seen else None
        seen = inner if isinstance(inner, BaseException) else cause
        if seen is None:
            break
    return type(error).__name__
