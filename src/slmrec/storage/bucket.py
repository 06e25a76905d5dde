"""Documents under a prefix of a bucket, written once or by compare-and-swap of their generation."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from slmrec.errors import SourceMissingError
from slmrec.storage.client import SCHEME, TIMEOUT_SECONDS, default_client, reaching, split
from slmrec.storage.documents import ABSENT, Document
from slmrec.storage.ranges import download

if TYPE_CHECKING:
    from google.cloud.storage import Client

In = TypeVar("In")
Out = TypeVar("Out")
SIDE_BY_SIDE = 8
"""Transfers at once."""
_WRITER = "writer"


class Bucket:
    """`Documents` under `gs://BUCKET/PREFIX`; a generation is Cloud Storage's own.

    Without `client` the default credentials are used. Raises `ConfigError` for a malformed URI.
    """

    def __init__(
        self, place: str, *, client: "Client | None" = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        bucket, prefix = split(f"{place.rstrip('/')}/", "gs://BUCKET/PREFIX")
        self.place = place.rstrip("/")
        self._prefix = prefix
        self._bucket = bucket
        self._client = client or default_client()
        self._timeout = timeout
        self._there = False

    def read(self, name: str) -> Document | None:
        """One document; None when it is not there."""
        from google.api_core.exceptions import NotFound

        blob = self._blob(name)
        with reaching(self.uri(name), "could not be read", "check network and credentials"):
            try:
                content = blob.download_as_bytes(timeout=self._timeout, checksum="crc32c")
            except NotFound:
                self._require_bucket()
                return None
        return Document(content, str(blob.generation))

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Several documents by name, without those that are not there."""
        asked = list(names)
        found = zip(asked, _side_by_side(self.read, asked), strict=True)
        return {name: document.content for name, document in found if document is not None}

    def replace(self, name: str, content: bytes, expected: str) -> bool:
        """Write a document if its generation still is `expected`; whether it was."""
        from google.api_core.exceptions import PreconditionFailed

        blob = self._blob(name)
        writer = uuid4().hex
        blob.metadata = {_WRITER: writer}
        with reaching(self.uri(name), "could not be written", "check network and credentials"):
            try:
                blob.upload_from_string(
                    content,
                    content_type="application/json",
                    if_generation_match=0 if expected == ABSENT else int(expected),
                    timeout=self._timeout,
                    checksum="crc32c",
                )
            except PreconditionFailed:
                # Where an answer was lost, the library's second attempt meets what its first wrote.
                written = self._client.bucket(self._bucket).get_blob(
                    blob.name, timeout=self._timeout
                )
                return written is not None and (written.metadata or {}).get(_WRITER) == writer
        return True

    def put(self, name: str, source: Path) -> None:
        """Write a file's bytes under a name."""
        with reaching(self.uri(name), "could not be written", "check network and credentials"):
            self._blob(name).upload_from_filename(
                str(source), timeout=self._timeout, checksum="crc32c"
            )

    def names(self, folder: str) -> list[str]:
        """Every name in a folder and below it, sorted."""
        return sorted(blob.name.removeprefix(self._prefix) for blob in self._below(folder))

    def fetch(self, folder: str) -> Path:
        """A copy of a folder that lasts as long as this process."""
        target = Path(tempfile.mkdtemp(dir=_scratch()))

        def one(blob: Any) -> None:
            path = target / blob.name.removeprefix(f"{self._prefix}{folder}/")
            if not path.resolve().is_relative_to(target.resolve()):
                raise SourceMissingError(
                    f"{SCHEME}{self._bucket}/{blob.name}: a name that leaves its folder; remove it"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with reaching(self.uri(folder), "could not be downloaded", "try again"):
                download(blob, path, self._timeout)

        _side_by_side(one, self._below(folder))
        return target

    def remove(self, names: Iterable[str]) -> None:
        """Remove what is there of several names."""
        from google.api_core.exceptions import NotFound

        def one(name: str) -> None:
            with reaching(self.uri(name), "could not be removed", "check network and credentials"):
                try:
                    self._blob(name).delete(timeout=self._timeout)
                except NotFound:
                    return  # removed by somebody else, or by a first attempt whose answer was lost

        _side_by_side(one, list(names))

    def uri(self, name: str) -> str:
        """The `gs://` URI of a document."""
        return f"{SCHEME}{self._bucket}/{self._prefix}{name}"

    def _require_bucket(self) -> None:
        """A bucket that is not there must not pass for one that holds nothing; asked once."""
        if not self._there:
            next(
                iter(self._client.list_blobs(self._bucket, max_results=1, timeout=self._timeout)),
                None,
            )
            self._there = True

    def _blob(self, name: str) -> Any:
        return self._client.bucket(self._bucket).blob(f"{self._prefix}{name}")

    def _below(self, folder: str) -> list[Any]:
        prefix = f"{self._prefix}{folder}/"
        with reaching(self.uri(folder), "could not be listed", "check network and credentials"):
            blobs = self._client.list_blobs(self._bucket, prefix=prefix, timeout=self._timeout)
            return [blob for blob in blobs if not blob.name.endswith("/")]


def _side_by_side(work: Callable[[In], Out], items: list[In]) -> list[Out]:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(work, items))


@cache
def _scratch() -> str:
    """A folder for copies, removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="slmrec-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
