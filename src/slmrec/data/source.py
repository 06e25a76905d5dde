"""What exactly the input is: its files, and one digest that changes when, and only when, they do."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slmrec.artifacts import canonical_json, digest_file, digest_text
from slmrec.data.listing import Listing
from slmrec.data.sample import is_sample, parse_sample
from slmrec.errors import SourceMissingError
from slmrec.progress import Progress
from slmrec.storage.client import is_remote, require_place
from slmrec.storage.files import ObjectDescription, describe, fetch, list_objects

_WILDCARDS = frozenset("*?[")
_BESIDE_DATA = (".crc", ".md5", ".sha256")


@dataclass(frozen=True)
class SourceFile:
    """One file of a source."""

    name: str
    """Within the source: of a single file its own name, else the path below the folder."""
    uri: str
    """A local path or `gs://`."""
    described: ObjectDescription | None = None
    """Of an object that was found by listing: what the listing says of it."""

    def local(self, scratch: Path, progress: Progress) -> Path:
        """Give a path to the bytes; an object is downloaded into `scratch` first."""

        def report(done: int, total: int) -> None:
            progress.update(done, total, f"downloading {self.name}")

        return fetch(self.uri, scratch / "fetched" / digest_text(self.uri)[:16], report=report)


def resolve(source: str) -> tuple[SourceFile, ...]:
    """Find the files of a source, in order of name.

    A source is a file, a directory (every data file in it, hidden ones, checksums and those that
    begin with `_` left out), a glob (`*`, `?`, `**`), or the same in Cloud Storage: `gs://BUCKET/OBJECT`,
    `gs://BUCKET/PREFIX/`, a `gs://` glob.

    Links are followed: who names a folder means what is put in it. Raises `SourceMissingError` when
    nothing is there or a file may not be read, and `ConfigError` for a malformed `gs://` or another
    scheme.
    """
    if not source:
        raise SourceMissingError(
            "interactions: no source given, expected a file, a directory, a glob, gs://… or sample:"
        )
    require_place(source)
    if is_remote(source):
        return _remote(source)
    path = Path(source)
    if path.is_dir():
        found = _inside(path)
        if not found:
            raise SourceMissingError(f"{source}: a directory without data files")
    elif path.exists() or not _WILDCARDS & set(source):
        return (SourceFile(path.name, str(local_file(source))),)
    else:
        matched = sorted(file for file in map(Path, glob.glob(source, recursive=True)))
        files = [file for file in matched if file.is_file()]
        if not files:
            raise SourceMissingError(f"{source}: nothing matches (looked in {Path.cwd()})")
        base = os.path.commonpath([file.parent for file in files])
        found = [(os.path.relpath(file, base), file) for file in files]
    return tuple(SourceFile(name, str(local_file(str(file)))) for name, file in sorted(found))


def snapshot(interactions: str, items: str) -> str:
    """SHA-256, in hexadecimal, over the identity of both sources.

    A local file counts with its bytes, a `gs://` object with its generation and checksums, a
    `sample:` with its parameters. `items` may be empty. Local paths do not count, so a file keeps
    its digest when it is moved; its name does, because readers recognise formats by it.

    Raises `SourceMissingError` and, for a malformed `sample:` or `gs://`, `ConfigError`.
    """
    return list_source(interactions, items).digest


def list_source(interactions: str, items: str) -> Listing:
    """What both sources hold: `snapshot`'s digest, and every file with its size.

    Objects are not read, their checksums are what the listing says; local files are. Raises as
    `snapshot` does.
    """
    log = _parts(interactions)
    table = _parts(items) if items else []
    whole = {"interactions": _identity(log), "items": _identity(table) if items else None}
    files = {
        f"{kind}/{part.name}": (part.size, part.content)
        for kind, parts in (("interactions", log), ("items", table))
        for part in parts
    }
    return Listing(digest_text(canonical_json(whole)), files)


def local_file(source: str) -> Path:
    """Check that a path names a readable file. Raises `SourceMissingError` saying what it is."""
    path = Path(source)
    if path.is_dir():
        raise SourceMissingError(f"{source}: is a directory, expected a file")
    if not path.is_file():
        raise SourceMissingError(f"{source}: no such file (looked in {Path.cwd()})")
    if not os.access(path, os.R_OK):
        raise SourceMissingError(f"{source}: may not be read; check its permissions")
    return path


def _inside(directory: Path) -> list[tuple[str, Path]]:
    found = []
    for folder, folders, names in os.walk(directory):  # does not follow links to folders
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            path = Path(folder) / name
            if _holds_data(name):
                found.append((path.relative_to(directory).as_posix(), path))
    return found


def _holds_data(name: str) -> bool:
    """Tell data files from markers and checksums; `name` may be a path below the source."""
    hidden = any(part.startswith((".", "_")) for part in name.split("/"))
    return not hidden and not name.endswith(_BESIDE_DATA)


def _remote(source: str) -> tuple[SourceFile, ...]:
    if not source.endswith("/") and not _WILDCARDS & set(source):
        return (SourceFile(source.rpartition("/")[2], source),)
    fixed = len(re.split(r"[*?[]", source)[0].rpartition("/")[0]) + 1
    files = [SourceFile(found.uri[fixed:], found.uri, found) for found in list_objects(source)]
    if source.endswith("/"):
        files = [file for file in files if _holds_data(file.name)]
    if not files:
        raise SourceMissingError(f"{source}: no data file there, or no object matches")
    return tuple(files)


@dataclass(frozen=True)
class _Part:
    """A file as the digest of its source counts it, and as a listing shows it."""

    name: str
    identity: dict[str, object]
    size: int
    content: str


def _parts(source: str) -> list[_Part]:
    if is_sample(source):
        sample = parse_sample(source)
        return [_Part(sample.uri(), {"sample": sample.uri()}, sample.interactions, sample.uri())]
    return [_part(file) for file in resolve(source)]


def _identity(parts: Sequence[_Part]) -> object:
    return parts[0].identity if len(parts) == 1 else [part.identity for part in parts]


def _part(file: SourceFile) -> _Part:
    if is_remote(file.uri):
        found = file.described or describe(file.uri)
        identity = {
            "uri": file.uri,
            "generation": found.generation,
            "md5": found.md5,
            "crc32c": found.crc32c,
        }
        return _Part(file.name, identity, found.size, found.md5 or found.crc32c)
    path = Path(file.uri)
    digest = digest_file(path)
    return _Part(file.name, {"name": file.name, "sha256": digest}, path.stat().st_size, digest)
