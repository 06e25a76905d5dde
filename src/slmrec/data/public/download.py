"""A download over HTTP that goes on where it stopped."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from slmrec.errors import DataError, SourceMissingError, first_line
from slmrec.progress import Progress

MEGABYTE = 1_000_000
BLOCK = 64 * 1024
"""Bytes; what had arrived of a block is lost when the connection breaks."""
TIMEOUT_SECONDS = (10.0, 60.0)
"""To connect, and between two packets."""
ATTEMPTS = 3
"""That may break off in a row without a byte gained."""
_UNKNOWN = -1
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def session() -> requests.Session:
    """Give a session that asks again, after a growing pause, when a server is busy or away."""
    patient = Retry(
        total=3,
        backoff_factor=0.5,
        status_forcelist=(408, 429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
    )
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=patient))
    # Ranges count the bytes of the file, so the server must not pack them on the way.
    made.headers["Accept-Encoding"] = "identity"
    return made


@dataclass(frozen=True)
class _Origin:
    # What the bytes that are there already belong to.
    url: str
    validator: str
    """A strong ETag or the date of the last change; empty where the server gives neither."""
    size: int
    """Of the whole file in bytes, or `_UNKNOWN`."""

    @classmethod
    def of(cls, url: str, answer: requests.Response, size: int) -> Self:
        tag = answer.headers.get("ETag", "")
        strong = "" if tag.startswith("W/") else tag
        return cls(url, strong or answer.headers.get("Last-Modified", ""), size)


def download(
    url: str, target: Path, *, most_bytes: int, progress: Progress, http: requests.Session
) -> None:
    """Fetch `url` into the file `target`, which appears when every byte is there.

    What was fetched before an interruption lies in `.NAME.partial` beside it; the next call goes on
    behind it when the server still has the same file, and begins anew when not.

    Raises `SourceMissingError` when the server cannot be reached, refuses or breaks off again and
    again, and `DataError` when the file is larger than `most_bytes` or than the disk has room for.
    """
    partial = target.with_name(f".{target.name}.partial")
    fruitless = 0
    while True:
        before = _size(partial)
        try:
            _continue(url, partial, most_bytes, progress, http)
        except _BrokeOffError as error:
            fruitless = 0 if _size(partial) > before else fruitless + 1
            if fruitless == ATTEMPTS:
                raise _not_fetched(url, str(error)) from error
        except requests.RequestException as error:
            raise _not_fetched(url, _cause(error)) from error
        else:
            partial.replace(target)
            _origin_file(partial).unlink(missing_ok=True)
            return


class _BrokeOffError(Exception):
    # The connection stood, and ended too early: the rest may come over another one.
    pass


def _continue(
    url: str, partial: Path, most_bytes: int, progress: Progress, http: requests.Session
) -> None:
    have = _size(partial)
    known = _known_origin(partial)
    headers = {}
    if have and known is not None and known.url == url and known.validator:
        if have == known.size:
            return
        headers = {"Range": f"bytes={have}-", "If-Range": known.validator}
    with http.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status_code == _RANGE_NOT_SATISFIABLE:
            forget(partial)
            raise _BrokeOffError("the file became shorter")
        answer.raise_for_status()
        if url.startswith("https://") and not answer.url.startswith("https://"):
            raise DataError(f"{url}: led to {answer.url}, expected an encrypted connection")
        have = have if _goes_on(answer, have) else 0
        length = answer.headers.get("Content-Length", "")
        size = have + int(length) if length.isdecimal() else _UNKNOWN
        _refuse_too_large(url, size, have, most_bytes, partial)
        _origin_file(partial).write_text(json.dumps(asdict(_Origin.of(url, answer, size))))
        with partial.open("ab" if have else "wb") as stream:
            for block in _blocks(answer):
                stream.write(block)
                have += len(block)
                _refuse_too_large(url, have, have, most_bytes, partial)
                progress.update(have, max(size, have), partial.name[1 : -len(".partial")])
    if size not in (have, _UNKNOWN):
        raise _BrokeOffError(f"{have:,} of {size:,} bytes arrived")


def _blocks(answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(BLOCK)
    except requests.RequestException as error:
        raise _BrokeOffError(_cause(error)) from error


def forget(partial: Path) -> None:
    """Remove what an interrupted download left."""
    partial.unlink(missing_ok=True)
    _origin_file(partial).unlink(missing_ok=True)


def _goes_on(answer: requests.Response, have: int) -> bool:
    # A server may answer with another part than the one that was asked for.
    place = answer.headers.get("Content-Range", "")
    return answer.status_code == _PARTIAL_CONTENT and place.startswith(f"bytes {have}-")


def _refuse_too_large(url: str, size: int, have: int, most_bytes: int, partial: Path) -> None:
    if size > most_bytes:
        forget(partial)
        raise DataError(
            f"{url}: {size / MEGABYTE:,.0f} MB or more, expected at most "
            f"{most_bytes / MEGABYTE:,.0f}; allow more with --max-megabytes"
        )
    free = shutil.disk_usage(partial.parent).free
    if size - have > free:
        raise DataError(
            f"{url}: {(size - have) / MEGABYTE:,.0f} MB are to come and the disk of "
            f"{partial.parent} has {free / MEGABYTE:,.0f} MB free; make room or choose another folder"
        )


def _not_fetched(url: str, cause: str) -> SourceMissingError:
    return SourceMissingError(
        f"{url}: could not be fetched ({cause}); the same command goes on where this one stopped"
    )


def _cause(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    return first_line(_innermost(error))


def _innermost(error: BaseException) -> BaseException:
    # requests wraps what urllib3 wraps; the last one says what happened.
    for cause in (getattr(error, "reason", None), *error.args):
        if isinstance(cause, BaseException):
            return _innermost(cause)
    return error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _origin_file(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _known_origin(partial: Path) -> _Origin | None:
    try:
        return _Origin(**json.loads(_origin_file(partial).read_text()))
    except (OSError, ValueError, TypeError):
        return None
