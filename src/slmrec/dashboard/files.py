"""Files that are parsed once and again only when they change; artifacts whose bytes are checked."""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from slmrec.artifacts import MANIFEST, canonical_json, digest_text
from slmrec.confinement import leads_out, objection
from slmrec.dashboard.values import pick, text

T = TypeVar("T")
_MOST = 8192
_ARTIFACTS = "/cache/artifacts/"


class Files:
    """What was parsed of files, by path, modification time and size."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, Any], tuple[tuple[int, int], Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, parse: Callable[[bytes], T]) -> T | None:
        """The parsed file; None when it is not there or `parse` finds it malformed (`ValueError`)."""
        try:
            found = path.stat()
            stamp, key = (found.st_mtime_ns, found.st_size), (path, parse)
            with self._lock:
                kept = self._kept.get(key)
            if kept is not None and kept[0] == stamp:
                return kept[1]
            value = parse(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        with self._lock:
            self._kept[key] = (stamp, value)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return value


@dataclass(frozen=True)
class Manifest:
    """What an artifact says of itself."""

    kind: str
    digest: str
    inputs: Mapping[str, str]
    files: Mapping[str, str]
    """SHA-256 by name."""


@dataclass(frozen=True)
class Holding:
    """An artifact of a run that is still there."""

    path: Path
    manifest: Manifest
    files: Files

    def bytes(self, name: str) -> bytes | None:
        """A file's bytes; None when the manifest lists none of that name or other bytes."""
        path = self._listed(name)
        try:
            content = None if path is None else path.read_bytes()
        except OSError:
            return None
        same = content is not None and digest_bytes(content) == self.manifest.files[name]
        return content if same else None

    def json(self, name: str) -> Any:
        """The parsed content of one of the files; None like `bytes`."""
        path = self._listed(name)
        if path is None or self.files.get(path, digest_bytes) != self.manifest.files[name]:
            return None
        return self.files.get(path, json.loads)

    def file(self, name: str) -> Path | None:
        """Where a file is whose bytes are those of the manifest; None like `bytes`."""
        path = self._listed(name)
        if path is None or self.files.get(path, digest_bytes) != self.manifest.files[name]:
            return None
        return path

    def _listed(self, name: str) -> Path | None:
        if name not in self.manifest.files or objection(name):
            return None
        path = self.path / name
        return None if leads_out(self.path, path) else path


class Shelf:
    """The artifacts under a home, found by the places that summaries record."""

    def __init__(self, home: Path, files: Files) -> None:
        self._root = (home / "cache" / "artifacts").resolve()
        self._files = files

    def find(self, recorded: str) -> Holding | None:
        """The artifact at a recorded place; None when it is gone or was never whole.

        Only the part below `cache/artifacts` counts, so that a home that was moved is still read and
        nothing outside of it ever is.
        """
        path = self.path(recorded)
        if path is None:
            return None
        manifest = self._files.get(path / MANIFEST, parse_manifest)
        return None if manifest is None else Holding(path, manifest, self._files)

    def path(self, recorded: str) -> Path | None:
        """Where a recorded place is under this home; None when nothing is there."""
        _, found, rest = recorded.rpartition(_ARTIFACTS)
        path = self._root / rest
        if not found or objection(rest) or leads_out(self._root, path):
            return None
        return path.resolve() if path.exists() else None


def digest_bytes(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest. Raises `ValueError`."""
    found = json.loads(content)
    files = pick(found, "files", of=dict)
    if files is None:
        raise ValueError("no manifest")
    inputs = pick(found, "inputs", of=dict) or {}
    return Manifest(
        kind=text(found, "kind"),
        digest=digest_text(canonical_json(found)),
        inputs={str(name): str(digest) for name, digest in inputs.items()},
        files={str(name): text(entry, "sha256") for name, entry in files.items()},
    )
