"""Objects written to Cloud Storage: once, whole, and only over what the writer has seen.

A write whose answer was lost is not done twice and is not taken for another's: the second attempt
meets what the first one wrote, and knows it by the writer's mark.
"""

from pathlib import Path
from typing import Any
from uuid import uuid4

from slmrec.storage.checksum import crc32c
from slmrec.storage.patience import CutShortError, Patience, persist
from slmrec.storage.ranges import Report

CHUNK_BYTES = 16 * 2**20
"""Of a large object that are sent at once; a multiple of 256 KiB, as Cloud Storage wants it."""
WRITER = "writer"
"""Metadata of an object: a mark of the call that wrote it."""


def write(
    blob: Any,
    source: Path | bytes,
    expected: int,
    patience: Patience,
    *,
    content_type: str = "application/octet-stream",
    report: Report | None = None,
) -> bool:
    """Write an object if its generation still is `expected`, 0 of what is not there; whether it was.

    What is large goes in chunks through one resumable session: what was received is not sent again.
    The object appears with the last byte, or not at all, and the service refuses bytes that do not
    have their checksum. Raises what `persist` raises.
    """
    from google.api_core.exceptions import PreconditionFailed

    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    blob.metadata = {WRITER: uuid4().hex}
    try:
        if isinstance(source, Path) and size > CHUNK_BYTES:
            _Session(blob, source, size, expected, content_type, patience).send(report)
        else:
            content = source if isinstance(source, bytes) else source.read_bytes()
            _write_at_once(blob, content, expected, content_type, patience)
    except PreconditionFailed:
        written = persist(lambda: _current(blob, patience), patience)
        return written is not None and (written.metadata or {}).get(WRITER) == _mark(blob)
    if report is not None:
        report(size, size)
    return True


def holds(blob: Any, source: Path, patience: Patience) -> bool:
    """Whether an object is there and has a file's bytes, as far as size and checksum tell."""
    found = persist(lambda: _current(blob, patience), patience)
    return (
        found is not None
        and int(found.size) == source.stat().st_size
        and found.crc32c == crc32c(source)
    )


def _current(blob: Any, patience: Patience) -> Any:
    return blob.bucket.get_blob(blob.name, timeout=patience.silence, retry=None)


def _write_at_once(
    blob: Any, content: bytes, expected: int, content_type: str, patience: Patience
) -> None:
    mark = _mark(blob)

    def attempt() -> None:
        fresh = blob.bucket.blob(blob.name)  # an answer overwrites what the blob says of itself
        fresh.metadata = {WRITER: mark}
        fresh.upload_from_string(
            content,
            content_type=content_type,
            if_generation_match=expected,
            timeout=patience.silence,
            checksum="crc32c",
            retry=None,
        )

    persist(attempt, patience)


def _mark(blob: Any) -> str:
    return str(blob.metadata[WRITER])


class _Session:
    """One resumable upload, https://cloud.google.com/storage/docs/performing-resumable-uploads.

    The library's own loses its place where the service kept a part of a chunk, and deletes the object
    where the checksum does not fit, whoever wrote it.
    """

    def __init__(
        self,
        blob: Any,
        source: Path,
        size: int,
        expected: int,
        content_type: str,
        patience: Patience,
    ) -> None:
        self._blob = blob
        self._source = source
        self._size = size
        self._expected = expected
        self._type = content_type
        self._patience = patience
        self._url = ""
        self._there = 0
        """Bytes that the service has."""
        self._sure = True
        """Whether that is known: not after a request whose answer never came."""
        self._done = False

    def send(self, report: Report | None) -> None:
        """Send all of it."""
        from requests import Session

        self._blob.crc32c = crc32c(
            self._source
        )  # which the service checks before the object appears
        with Session() as http:
            while not self._done:
                persist(lambda: self._advance(http), self._patience)
                if report is not None and not self._done:
                    report(self._there, self._size)

    def _advance(self, http: Any) -> None:
        """Send the next chunk, after looking where that begins if it is not known."""
        if not self._url:
            self._begin()
        if not self._sure:
            self._take(self._put(http, b"", f"bytes */{self._size}"))
            if self._done:
                return
        with self._source.open("rb") as file:
            file.seek(self._there)
            chunk = file.read(CHUNK_BYTES)
        end = self._there + len(chunk) - 1
        self._sure = False
        self._take(self._put(http, chunk, f"bytes {self._there}-{end}/{self._size}"))

    def _begin(self) -> None:
        self._url = self._blob.create_resumable_upload_session(
            content_type=self._type,
            size=self._size,
            if_generation_match=self._expected,
            timeout=self._patience.silence,
            checksum=None,
            retry=None,
        )
        self._there, self._sure = 0, True

    def _put(self, http: Any, chunk: bytes, which: str) -> Any:
        # The address is a secret that gives the right to write, so no credentials go with it.
        return http.put(
            self._url,
            data=chunk,
            headers={"Content-Range": which},
            timeout=self._patience.silence,
            allow_redirects=False,
        )

    def _take(self, answer: Any) -> None:
        """Note what an answer says about how far it is."""
        from google.api_core.exceptions import from_http_response

        if answer.status_code in (200, 201):
            self._done = self._sure = True
        elif answer.status_code == 308:
            _, dash, last = answer.headers.get("Range", "").rpartition("-")
            self._there = int(last) + 1 if dash else 0
            self._sure = True
        elif answer.status_code in (404, 410):
            self._url = ""
            raise CutShortError("the service has forgotten the upload; it begins anew")
        else:
            raise from_http_response(answer)
