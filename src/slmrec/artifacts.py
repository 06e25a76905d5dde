"""Artifacts: directories that are whole or are not artifacts at all.

A writer fills a staging directory and `publish` moves the files into place, the manifest last. A
reader calls `open_artifact`, which checks every byte against the manifest and refuses the rest.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmrec.confinement import leads_out, objection
from slmrec.errors import ArtifactError, naming
from slmrec.mounts import mounted_uri

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
ALLOWED_SUFFIXES = frozenset(
    {".parquet", ".arrow", ".npy", ".safetensors", ".onnx", ".json", ".html", ".svg", ".md"}
)

_COPIED_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Artifact:
    """A directory whose bytes were checked against its manifest."""

    path: Path
    kind: str
    digest: str
    properties: Mapping[str, Any]
    inputs: Mapping[str, str]
    files: frozenset[str] = frozenset()
    """What the manifest lists, and so what was checked."""

    def file(self, name: str) -> Path:
        """The path of one of the artifact's files. Raises `ArtifactError` for one not checked."""
        if name not in self.files:
            raise ArtifactError(
                f"{self.path}: a '{self.kind}' without the file {name}, found {sorted(self.files)}"
            )
        return self.path / name

    def json(self, name: str) -> Any:
        """The parsed content of one of the artifact's JSON files."""
        return json.loads(self.file(name).read_text(encoding="utf-8"))


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys; the same value gives the same bytes."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    with naming(path):
        path.write_text(text + "\n", encoding="utf-8")


def digest_text(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file's bytes, in hexadecimal: SHA-256, or what a publisher used."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def digest_files(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file, several at a time: hashing leaves the interpreter to other threads."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(digest_file, paths))


@contextmanager
def publish(
    directory: Path,
    kind: str,
    *,
    config: str = "",
    inputs: Mapping[str, Artifact] | None = None,
    properties: Mapping[str, Any] | None = None,
) -> Iterator[Path]:
    """Yield an empty staging directory; publish what was written there when the block succeeds.

    `config` is the canonical JSON of the step's configuration. `properties` is read when the block
    ends, so a writer may fill the mapping while it works. A block that raises leaves nothing behind.

    Raises `ArtifactError` when the block wrote a file of a kind that artifacts may not hold.
    """
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = _staging(directory)
    try:
        with naming(directory):
            yield staging
        files = sorted(path for path in staging.rglob("*") if path.is_file())
        for path in files:
            if path.suffix not in ALLOWED_SUFFIXES:
                raise ArtifactError(
                    f"{path.name}: an artifact may not hold a '{path.suffix}' file; "
                    f"allowed are {', '.join(sorted(ALLOWED_SUFFIXES))}"
                )
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "config_digest": digest_text(config),
            "inputs": {name: artifact.digest for name, artifact in (inputs or {}).items()},
            "properties": dict(properties or {}),
            "files": {
                path.relative_to(staging).as_posix(): {
                    "bytes": path.stat().st_size,
                    "sha256": digest,
                }
                for path, digest in zip(files, digest_files(files), strict=True)
            },
        }
        write_json(staging / MANIFEST, manifest)
        _move_into_place(staging, directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def staging_disk(directory: Path) -> Path:
    """A folder on the disk that has to hold an artifact while it is written."""
    return Path(tempfile.gettempdir()) if mounted_uri(directory) else directory.parent


def _staging(directory: Path) -> Path:
    """An empty folder beside the artifact; in a mounted bucket on this machine's own disk.

    Writers seek, map memory and link, which a mounted bucket does not take.
    """
    if mounted_uri(directory):
        return Path(tempfile.mkdtemp(prefix="slmrec-", dir=staging_disk(directory)))
    staging = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    return staging


def _move_into_place(staging: Path, directory: Path) -> None:
    # File by file with the manifest last, because a bucket mounted as a folder cannot rename folders.
    # An older artifact loses its manifest first, so no reader takes a mixture for whole.
    mounted = bool(mounted_uri(directory))
    move = _copy if mounted else os.replace
    (directory / MANIFEST).unlink(missing_ok=True)
    if directory.exists():
        shutil.rmtree(directory, ignore_errors=mounted)  # there a folder goes with its last file
    directory.mkdir(parents=True, exist_ok=mounted)
    for path in sorted(staging.rglob("*")):
        if path.is_file() and path != staging / MANIFEST:
            target = directory / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            move(path, target)
    move(staging / MANIFEST, directory / MANIFEST)


def _copy(source: Path, target: Path) -> None:
    # From beginning to end, as a mounted bucket wants it; an object appears when it is closed.
    with source.open("rb") as read, target.open("wb") as written:
        shutil.copyfileobj(read, written, _COPIED_BYTES)


def open_artifact(
    directory: Path | str, kind: str | None = None, only: Collection[str] | None = None
) -> Artifact:
    """Check an artifact against its manifest and open it.

    With `only`, those of its files are checked and open, and the others need not be there.

    Raises `ArtifactError`, naming the file, when the manifest is missing or from another schema,
    when a file is missing, has another size or other bytes, or when the kind is not `kind`.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise ArtifactError(
            f"{directory / MANIFEST}: schema version {manifest['schema_version']}, expected "
            f"{SCHEMA_VERSION}; run the pipeline again with this version of slmrec"
        )
    if kind is not None and manifest["kind"] != kind:
        raise ArtifactError(f"{directory}: holds a '{manifest['kind']}', expected a '{kind}'")
    files = manifest["files"]
    if only is not None:
        files = {name: entry for name, entry in files.items() if name in only}
    _check_files(directory, files)
    try:
        digest = digest_text(canonical_json(manifest))
    except ValueError as error:  # a number that is none, or half a letter
        raise ArtifactError(
            f"{directory / MANIFEST}: not a manifest of ours ({error}); run the pipeline again"
        ) from None
    return Artifact(
        path=directory,
        kind=manifest["kind"],
        digest=digest,
        properties=manifest["properties"],
        inputs=manifest["inputs"],
        files=frozenset(files),
    )


def read_manifest(directory: Path) -> dict[str, Any]:
    """What an artifact says that it holds, nothing of which is checked yet. Raises `ArtifactError`."""
    path = directory / MANIFEST
    if leads_out(directory, path):
        raise ArtifactError(f"{path}: a link that points outside the artifact; remove the artifact")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"{directory}: no {MANIFEST}, so the artifact was never finished; run the pipeline again"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not valid JSON ({error}); run the pipeline again") from None
    required = {"schema_version", "kind", "files", "properties", "inputs", "config_digest"}
    if not isinstance(manifest, dict) or not required <= manifest.keys():
        raise ArtifactError(f"{path}: not a manifest, expected the keys {sorted(required)}")
    for name in ("files", "properties", "inputs"):
        if not isinstance(manifest[name], dict):
            raise ArtifactError(f"{path}: '{name}' must be an object; run the pipeline again")
    for name, entry in manifest["files"].items():
        if not isinstance(entry, dict) or not (
            isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
        ):
            raise ArtifactError(
                f"{path}: 'files' must give bytes and sha256 for each file, '{name[:80]}' lacks them"
            )
    return manifest


def _check_files(directory: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, expected in files.items():
        path = directory / name
        reason = objection(name) or ("by a link" if leads_out(directory, path) else "")
        if reason:
            raise ArtifactError(
                f"{directory / MANIFEST}: {name[:200]!r} points outside the artifact ({reason}); "
                "remove the artifact and run the pipeline again"
            )
        if not path.is_file():
            raise ArtifactError(
                f"{path}: listed in the manifest but missing; run the pipeline again"
            )
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise ArtifactError(
                f"{path}: {size} bytes, the manifest says {expected['bytes']}; run the pipeline again"
            )
    for name, found in zip(files, digest_files([directory / name for name in files]), strict=True):
        stated = files[name]["sha256"]
        if found != stated:
            raise ArtifactError(
                f"{directory / name}: SHA-256 {found[:12]}…, the manifest says {stated[:12]}…; "
                "the file was changed after it was written, run the pipeline again"
            )
