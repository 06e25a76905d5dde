"""What exactly the input is: one digest that changes when, and only when, the input does."""

import os
from pathlib import Path

from slmrec.artifacts import canonical_json, digest_file, digest_text
from slmrec.data.sample import is_sample, parse_sample
from slmrec.errors import SourceMissingError
from slmrec.storage import describe, is_remote


def snapshot(interactions: str, items: str) -> str:
    """SHA-256, in hexadecimal, over the identity of both sources.

    A local file counts with its bytes, a `gs://` object with its generation and checksums, a
    `sample:` with its parameters. `items` may be empty. Local paths do not count, so a file keeps
    its digest when it is moved; its name does, because readers recognise formats by it.

    Raises `SourceMissingError` and, for a malformed `sample:` or `gs://`, `ConfigError`.
    """
    if not interactions:
        raise SourceMissingError(
            "interactions: no source given, expected a file, gs://BUCKET/OBJECT or sample:"
        )
    return digest_text(
        canonical_json(
            {"interactions": _identity(interactions), "items": _identity(items) if items else None}
        )
    )


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


def _identity(source: str) -> dict[str, object]:
    if is_sample(source):
        return {"sample": parse_sample(source).uri()}
    if is_remote(source):
        found = describe(source)
        return {
            "uri": source,
            "generation": found.generation,
            "md5": found.md5,
            "crc32c": found.crc32c,
        }
    path = local_file(source)
    return {"name": path.name, "sha256": digest_file(path)}
