"""Named documents in one place, a local folder or a bucket: all that a registry needs of storage."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from slmrec.confinement import leads_out, objection
from slmrec.errors import ArtifactError, ConfigError, RegistryConflict, naming
from slmrec.mounts import mounted_uri
from slmrec.progress import Progress

ABSENT = ""
"""The generation of what is not there."""
LOCK_SECONDS = 60.0
_LOCK, _ASIDE = ".lock", ".partial"


@dataclass(frozen=True)
class Document:
    """Bytes and the generation that they are; every change gives another generation."""

    content: bytes
    generation: str


class Documents(Protocol):
    """Documents by name, the parts of a name joined by '/'.

    Readers see a document whole or not at all. Raises `SourceMissingError` where the place cannot be
    reached.
    """

    place: str
    """How people call it: a path or a `gs://` URI."""

    def read(self, name: str) -> Document | None:
        """One document; None when it is not there."""

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Several documents by name, without those that are not there."""

    def replace(self, name: str, content: bytes, expected: str) -> bool:
        """Write a document if its generation still is `expected`; whether it was."""

    def put_all(self, files: Mapping[str, Path], progress: Progress | None = None) -> None:
        """Write files' bytes under names."""

    def names(self, folder: str) -> list[str]:
        """Every name in a folder and below it, sorted."""

    def fetch(self, folder: str, progress: Progress | None = None) -> Path:
        """A local folder with all that lies in a folder; nothing may be changed there."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove what is there of several names."""

    def uri(self, name: str) -> str:
        """Where a document lies, as `slmrec.storage.files.fetch` takes it."""


class Folder:
    """`Documents` in a local folder, which is made by the first write.

    A generation is the digest of the content, so content must not repeat where that matters.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)

    def read(self, name: str) -> Document | None:
        """One document; None when it is not there."""
        try:
            content = self._path(name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return None
        return Document(content, hashlib.sha256(content).hexdigest())

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Several documents by name, without those that are not there."""
        found = {name: self.read(name) for name in names}
        return {name: document.content for name, document in found.items() if document is not None}

    def replace(self, name: str, content: bytes, expected: str) -> bool:
        """Write a document if its generation still is `expected`; whether it was.

        Raises `RegistryConflict` when another process holds the lock for too long.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / _LOCK, timeout=LOCK_SECONDS, fallback_to_soft=False)
        try:
            with lock:
                current = self.read(name)
                if (current.generation if current else ABSENT) != expected:
                    return False
                self._place(name, content)
                return True
        except Timeout:
            raise RegistryConflict(
                f"{self.path / _LOCK}: held by another process for more than "
                f"{LOCK_SECONDS:.0f} s; wait for that run to end and try again"
            ) from None

    def put_all(self, files: Mapping[str, Path], progress: Progress | None = None) -> None:
        """Write files' bytes under names."""
        for name, source in files.items():
            self._place(name, source)

    def names(self, folder: str) -> list[str]:
        """Every name in a folder and below it, sorted."""
        found: list[str] = []
        for place, folders, files in os.walk(self.path / folder):  # passes over what vanishes
            folders[:] = [name for name in folders if not name.startswith(".")]
            here = Path(place).relative_to(self.path)
            found += [(here / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(found)

    def fetch(self, folder: str, progress: Progress | None = None) -> Path:
        """The folder itself."""
        return self._path(folder)

    def remove(self, names: Iterable[str]) -> None:
        """Remove what is there of several names, and folders that become empty."""
        for name in names:
            path = self._path(name)
            path.unlink(missing_ok=True)
            for parent in path.relative_to(self.path).parents[:-1]:
                folder = self.path / parent
                for left in folder.glob(f".*{_ASIDE}"):  # by a writer that was killed
                    left.unlink(missing_ok=True)
                try:
                    folder.rmdir()
                except OSError:  # others are in it, or somebody else removed it
                    break

    def uri(self, name: str) -> str:
        """The path of a document."""
        return str(self.path / name)

    def _path(self, name: str) -> Path:
        """Where a document is. Raises `ArtifactError` for a name, or a link, that leads elsewhere."""
        path = self.path / name
        reason = objection(name) or ("a link in it leads out" if leads_out(self.path, path) else "")
        if reason:
            raise ArtifactError(
                f"{self.path}: {name!r} is outside of this folder ({reason}); remove what points there"
            )
        return path

    def _place(self, name: str, content: bytes | Path) -> None:
        """Write aside and rename; on the disk when this returns."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}{_ASIDE}")
        try:
            with naming(aside):
                if isinstance(content, Path):
                    shutil.copyfile(content, aside)
                else:
                    aside.write_bytes(content)
                _sync(aside)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        os.replace(aside, path)
        _sync(path.parent)


def open_documents(place: Path | str) -> Documents:
    """The documents of a path or of `gs://BUCKET/PREFIX`.

    Raises `ConfigError` for a malformed URI, a URI of another kind, and a bucket that is mounted as a
    folder: there neither locks nor renames hold what a registry rests on.
    """
    from slmrec.storage.bucket import Bucket
    from slmrec.storage.client import is_remote, require_place

    require_place(str(place))
    if is_remote(str(place)):
        return Bucket(str(place))
    if uri := mounted_uri(Path(place)):
        raise ConfigError(
            f"{place}: a bucket mounted as a folder keeps no locks, so two runs could both promote; "
            f"name the bucket itself, {uri}, or a folder on a disk"
        )
    return Folder(Path(place))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
