"""Artifacts of a cluster in a home: by their digest, so that what several runs share is there once."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.fetching.remote import RemoteArtifact
from slmrec.artifacts import (
    MANIFEST,
    canonical_json,
    digest_file,
    digest_text,
    open_artifact,
    read_manifest,
)
from slmrec.errors import ArtifactError, SourceMissingError
from slmrec.storage.client import SCHEME, default_client, is_remote
from slmrec.storage.files import fetch
from slmrec.storage.object_store import ObjectStore, is_in_object_store

if TYPE_CHECKING:
    from google.cloud.storage import Client

READ = frozenset({".json", ".html", ".svg", ".md"})
"""Files that people and pages read; everything else is data of the steps."""
QUARANTINE = "quarantine.parquet"
"""The one table that a page shows."""
LARGEST_READ = 64 * 2**20
"""Bytes of a file that is fetched for being read."""
MOUNTED = "/gcs/"
"""Where Vertex AI, and KFP's launcher, have buckets as folders."""
SIDE_BY_SIDE = 8
"""Downloads at once."""


@dataclass
class ArtifactFetcher:
    """Fetches artifacts into a folder, each byte checked.

    Without `whole` only what is read is fetched: of every artifact its manifest and the files that
    people and pages read. Such an artifact is there for pages and for its lineage, and `open_artifact`
    refuses it as a whole.
    """

    folder: Path
    objects: ObjectStore
    """Where `s3://` and `minio://` are read from."""
    whole: bool = False
    _known: dict[str, Path] = field(default_factory=dict)

    def fetch(self, port: str, artifact: RemoteArtifact) -> Path | None:
        """Where an output of a step is now; None for one that the step does not vouch for.

        Those are KFP's own, such as logs. Raises `ArtifactError` when the bytes are not those that the
        step left, and `SourceMissingError` when they cannot be had.
        """
        digest = artifact.metadata.get("digests", {}).get(port)
        if not isinstance(digest, str) or not artifact.uri:
            return None
        if digest not in self._known:
            self._known[digest] = self._fetched(port, artifact.uri.rstrip("/"), digest)
        return self._known[digest]

    @cached_property
    def _client(self) -> "Client":
        return default_client()

    def _fetched(self, port: str, uri: str, digest: str) -> Path:
        if not digest.isalnum():
            raise ArtifactError(f"{uri}: its digest is told as '{digest:.80}'; expected SHA-256")
        place = self._place(uri)
        target = self.folder / digest
        target.mkdir(parents=True, exist_ok=True)
        plain = target / PurePosixPath(port).name
        if plain.is_file() and digest_file(plain) == digest:
            return plain
        try:
            manifest = self._manifest(place, target, digest)
        except SourceMissingError as missing:
            try:
                self._get(place, plain)
            except SourceMissingError:
                raise missing from None
            if digest_file(plain) != digest:
                plain.unlink()
                raise ArtifactError(_altered(uri)) from None
            return plain
        self._files(place, target, manifest)
        return target

    def _manifest(self, place: str, target: Path, digest: str) -> dict[str, Any]:
        """An artifact's manifest, which is the one of that digest."""
        if not (target / MANIFEST).exists():
            aside = target / ".manifest"
            self._get(f"{place}/{MANIFEST}", aside / MANIFEST)
            manifest = read_manifest(aside)
            if digest_text(canonical_json(manifest)) != digest:
                shutil.rmtree(aside)
                raise ArtifactError(_altered(f"{place}/{MANIFEST}"))
            return manifest
        return read_manifest(target)

    def _files(self, place: str, target: Path, manifest: dict[str, Any]) -> None:
        """Fetch the files that are missing, then let the manifest say that they are there."""
        entries: Mapping[str, Mapping[str, Any]] = manifest["files"]
        wanted = [name for name in entries if self.whole or _is_read(name, entries[name])]
        for name in wanted:
            if not (target / name).resolve().is_relative_to(target.resolve()):
                raise ArtifactError(f"{place}/{MANIFEST}: '{name}' points outside the artifact")
        missing = [
            name
            for name in wanted
            if not (target / name).is_file()
            or digest_file(target / name) != entries[name]["sha256"]
        ]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(lambda name: self._get(f"{place}/{name}", target / name), missing))
        for name in missing:
            if digest_file(target / name) != entries[name]["sha256"]:
                (target / name).unlink()
                raise ArtifactError(_altered(f"{place}/{name}"))
        aside = target / ".manifest"
        if aside.exists():
            (aside / MANIFEST).replace(target / MANIFEST)
            aside.rmdir()
        open_artifact(target, only=None if self.whole else wanted)

    def _place(self, uri: str) -> str:
        """An address as this machine reads it. Raises what reading it would where it cannot."""
        if is_in_object_store(uri):
            return self.objects.address(uri)
        if is_remote(uri):
            return uri
        if uri.startswith(MOUNTED) and not Path(uri).exists():
            return SCHEME + uri.removeprefix(MOUNTED)
        if not uri.startswith("/"):
            raise SourceMissingError(
                f"{uri}: only gs://, s3://, minio:// and mounted folders are read from here; run the "
                "pipeline with --root gs://…"
            )
        return uri

    def _get(self, place: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_in_object_store(place):
            self.objects.download(place, target)
            return
        if is_remote(place):
            fetch(place, target.parent, client=self._client)
            return
        aside = target.with_name(f".{target.name}.partial")
        try:
            shutil.copyfile(place, aside)
        except OSError as error:
            raise SourceMissingError(
                f"{place}: {error.strerror}; mount here what the steps write to, or run with "
                "--root gs://…"
            ) from None
        aside.replace(target)


def _is_read(name: str, entry: Mapping[str, Any]) -> bool:
    read = PurePosixPath(name).suffix in READ or name == QUARANTINE
    return read and entry["bytes"] <= LARGEST_READ


def _altered(place: str) -> str:
    return (
        f"{place}: not the bytes that the step left there; somebody has changed them since, so run the "
        "pipeline again, and find out who writes there"
    )
