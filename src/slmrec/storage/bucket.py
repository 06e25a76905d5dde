"""Documents under a prefix of a bucket, written once or by compare-and-swap of their generation."""

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from slmrec.confinement import objection
from slmrec.errors import RegistryConflict, SourceMissingError
from slmrec.progress import Progress
from slmrec.storage.client import SCHEME, default_client, split
from slmrec.storage.documents import ABSENT, Document
from slmrec.storage.failures import reaching
from slmrec.storage.listing import list_blobs, require_bucket
from slmrec.storage.patience import USUAL, Patience, persist
from slmrec.storage.ranges import download
from slmrec.storage.tally import Tally
from slmrec.storage.uploads import CHUNK_BYTES, holds, write

if TYPE_CHECKING:
    from google.cloud.storage import Client

In = TypeVar("In")
Out = TypeVar("Out")
SIDE_BY_SIDE = 8
"""Transfers at once."""


class Bucket:
    """`Documents` under `gs://BUCKET/PREFIX`; a generation is Cloud Storage's own.

    Without `client` the default credentials are used. Raises `ConfigError` for a malformed URI.
    """

    def __init__(
        self, place: str, *, client: "Client | None" = None, patience: Patience = USUAL
    ) -> None:
        bucket, prefix = split(f"{place.rstrip('/')}/", "gs://BUCKET/PREFIX")
        self.place = place.rstrip("/")
        self._prefix = prefix
        self._bucket = bucket
        self._client = client or default_client()
        self._patience = patience
        self._there = False

    def read(self, name: str) -> Document | None:
        """One document; None when it is not there."""
        from google.api_core.exceptions import NotFound

        def attempt() -> Document:
            blob = self._blob(name)
            content = blob.download_as_bytes(
                timeout=self._patience.silence, checksum="crc32c", retry=None
            )
            return Document(content, str(blob.generation))

        with reaching(self.uri(name), "could not be read"):
            try:
                return persist(attempt, self._patience)
            except NotFound:
                self._require_bucket()
                return None

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Several documents by name, without those that are not there."""
        asked = list(names)
        found = zip(asked, _side_by_side(self.read, asked), strict=True)
        return {name: document.content for name, document in found if document is not None}

    def replace(self, name: str, content: bytes, expected: str) -> bool:
        """Write a document if its generation still is `expected`; whether it was."""
        with reaching(self.uri(name), "could not be written"):
            return write(
                self._blob(name),
                content,
                0 if expected == ABSENT else int(expected),
                self._patience,
                content_type="application/json",
            )

    def put_all(self, files: Mapping[str, Path], progress: Progress | None = None) -> None:
        """Write files' bytes under names, several at once.

        What is there with the same bytes stays. Raises `RegistryConflict` when there are others.
        """
        sizes = {name: source.stat().st_size for name, source in files.items()}
        tally = Tally(progress, sum(sizes.values()), "uploaded")

        def one(name: str) -> None:
            source, blob, report = files[name], self._blob(name), tally.of(name)
            with reaching(self.uri(name), "could not be written"):
                known = sizes[name] > CHUNK_BYTES and holds(blob, source, self._patience)
                if not (
                    known
                    or write(blob, source, 0, self._patience, report=report)
                    or holds(blob, source, self._patience)
                ):
                    raise RegistryConflict(
                        f"{self.uri(name)}: holds other bytes than {source}; somebody else wrote it, "
                        "so remove it, or register under another number by running again"
                    )
            report(sizes[name], sizes[name])

        _side_by_side(one, list(files))

    def names(self, folder: str) -> list[str]:
        """Every name in a folder and below it, sorted."""
        return sorted(blob.name.removeprefix(self._prefix) for blob in self._below(folder))

    def fetch(self, folder: str, progress: Progress | None = None) -> Path:
        """A copy of a folder that lasts as long as this process."""
        target = Path(tempfile.mkdtemp(dir=_scratch()))
        found = self._below(folder)
        tally = Tally(progress, sum(int(blob.size) for blob in found), "downloaded")

        def one(blob: Any) -> None:
            name = blob.name.removeprefix(f"{self._prefix}{folder}/")
            if reason := objection(name):
                raise SourceMissingError(
                    f"{SCHEME}{self._bucket}/{blob.name!r}: a name that leaves its folder ({reason}); "
                    "remove it"
                )
            with reaching(f"{self.uri(folder)}/{name}", "could not be downloaded"):
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                download(blob, path, self._patience, tally.of(name))

        _side_by_side(one, found)
        return target

    def remove(self, names: Iterable[str]) -> None:
        """Remove what is there of several names."""
        from google.api_core.exceptions import NotFound

        def one(name: str) -> None:
            def attempt() -> None:
                self._blob(name).delete(timeout=self._patience.silence, retry=None)

            # Not there: removed by somebody else, or by a first attempt whose answer was lost.
            with (
                reaching(self.uri(name), "could not be removed"),
                contextlib.suppress(NotFound),
            ):
                persist(attempt, self._patience)

        _side_by_side(one, list(names))

    def uri(self, name: str) -> str:
        """The `gs://` URI of a document."""
        return f"{SCHEME}{self._bucket}/{self._prefix}{name}"

    def _require_bucket(self) -> None:
        """A bucket that is not there must not pass for one that holds nothing; asked once."""
        if not self._there:
            require_bucket(self._client, self._bucket, self._patience)
            self._there = True

    def _blob(self, name: str) -> Any:
        return self._client.bucket(self._bucket).blob(f"{self._prefix}{name}")

    def _below(self, folder: str) -> list[Any]:
        prefix = f"{self._prefix}{folder}/"
        with reaching(self.uri(folder), "could not be listed"):
            blobs = list_blobs(self._client, self._bucket, prefix, self._patience)
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
