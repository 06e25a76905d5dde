"""Fetching a public log: whole and verified, or not there."""

import json
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slmrec.artifacts import digest_file, write_json
from slmrec.data.public.download import MEGABYTE, download, session
from slmrec.data.public.logs import LOGS, PublicLog, RemoteFile
from slmrec.errors import ConfigError, DataError
from slmrec.progress import Progress

SOURCE = "SOURCE.json"
ROOM = 3
"""A download may be this many times as large as the list says before it is refused."""
LEAST_LIMIT = 100
"""Megabytes that are always allowed."""
UNPACKED = 20
"""An archive may grow to this many times the allowed download."""


@dataclass(frozen=True)
class Fetched:
    """Where a public log lies now."""

    interactions: Path
    items: Path
    fresh: bool
    """False when it was there already."""


def find_log(name: str) -> PublicLog:
    """Find a public log. Raises `ConfigError` naming those that exist."""
    if name not in LOGS:
        raise ConfigError(f"no data named '{name}', expected one of: {', '.join(LOGS)}")
    return LOGS[name]


def fetch_log(
    log: PublicLog,
    folder: Path,
    progress: Progress,
    *,
    mirror: str = "",
    max_megabytes: int | None = None,
) -> Fetched:
    """Fetch a public log into `folder`/NAME, which appears when everything in it was verified.

    `mirror` is a URL that holds the same file names. `max_megabytes` limits each file; by default
    it follows from the size that the list states. `SOURCE.json` beside the files records where each
    came from, its SHA-256, whether its publisher's checksum was verified, and the terms of use.

    Raises `SourceMissingError` when a server cannot be reached, and `DataError` when a file is not
    what its publisher published, is too large, or was altered here since it was fetched.
    """
    destination = folder / log.name
    limit = max_megabytes if max_megabytes is not None else max(LEAST_LIMIT, ROOM * log.megabytes)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{log.name}.lock", timeout=0):
            fresh = not destination.exists()
            if fresh:
                _fetch(log, destination, mirror.rstrip("/"), limit, progress)
            else:
                _require_unaltered(destination)
    except Timeout as error:
        raise DataError(f"{destination}: another process is fetching it; wait for it") from error
    return Fetched(destination / log.interactions, destination / log.items, fresh)


def _fetch(log: PublicLog, destination: Path, mirror: str, limit: int, progress: Progress) -> None:
    # Everything comes together in a hidden folder, which also keeps what an interrupted fetch got.
    staging = destination.with_name(f".{log.name}.partial")
    staging.mkdir(exist_ok=True)
    origins = []
    with session() as http:
        for file in log.files:
            name = file.url.rsplit("/", 1)[1]
            url = f"{mirror}/{name}" if mirror else file.url
            path = staging / name
            if not path.exists():
                download(url, path, most_bytes=limit * MEGABYTE, progress=progress, http=http)
            _require_checksum(path, file, url)
            origins.append({"url": url, **_described(path), "md5_verified": bool(file.md5)})
    for archive in [staging / name for name in _archives(log)]:
        _unpack(archive, log.members, staging, UNPACKED * limit * MEGABYTE)
        archive.unlink()
    names = {log.interactions, log.items}
    write_json(
        staging / SOURCE,
        {
            "name": log.name,
            "what": log.what,
            "terms": log.terms,
            "downloads": origins,
            "files": [_described(staging / name) for name in sorted(names)],
        },
    )
    for path in staging.iterdir():
        if path.name not in {*names, SOURCE}:
            path.unlink()
    staging.replace(destination)


def _archives(log: PublicLog) -> list[str]:
    names = [file.url.rsplit("/", 1)[1] for file in log.files]
    return [name for name in names if name.endswith(".zip")]


def _require_checksum(path: Path, file: RemoteFile, url: str) -> None:
    if not file.md5:
        return
    found = digest_file(path, "md5")
    if found != file.md5:
        path.unlink()
        raise DataError(
            f"{url}: MD5 {found}, expected {file.md5} as its publisher states; it was removed, "
            "fetch it again or from another mirror"
        )


def _unpack(archive: Path, members: tuple[str, ...], folder: Path, most_bytes: int) -> None:
    # Members are asked for by the names in the list, never by those in the archive, so that none
    # can point outside the folder; a member gives at most the bytes that its entry states.
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = [packed.getinfo(member) for member in members]
            size = sum(entry.file_size for entry in entries)
            if size > most_bytes:
                raise DataError(
                    f"{archive.name}: unpacks to {size / MEGABYTE:,.0f} MB, expected at most "
                    f"{most_bytes / MEGABYTE:,.0f}"
                )
            for entry in entries:
                target = folder / Path(entry.filename).name
                with packed.open(entry) as source, target.open("wb") as stream:
                    shutil.copyfileobj(source, stream)
    except (KeyError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        archive.unlink()
        raise DataError(
            f"{archive.name}: not the archive that was expected ({error}); it was removed, fetch it "
            "again or from another mirror"
        ) from error


def _described(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest_file(path)}


def _require_unaltered(destination: Path) -> None:
    try:
        expected = json.loads((destination / SOURCE).read_text(encoding="utf-8"))["files"]
        altered = [
            file["name"] for file in expected if _described(destination / file["name"]) != file
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{destination}: exists and was not fetched by this command ({error}); choose another "
            "folder with --output"
        ) from error
    if altered:
        raise DataError(
            f"{destination}: changed since it was fetched: {', '.join(altered)}; remove the folder "
            "to fetch it again, or choose another one with --output"
        )
