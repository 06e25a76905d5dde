"""Finished shards of the teacher cache by what decides their content, for the next run to use."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.errors import ArtifactError
from slmrec.progress import Progress

KIND = "kept_shard"


class ShardStore:
    """A folder of kept shards, each an artifact named by its key (`shard_plan.shard_key`).

    Where the disk allows it a kept file and the file it was kept from are one file with two names.
    That is safe because artifacts are never written in place: `publish` puts new files where old
    ones were. Should anything else change the bytes, both ends notice by their manifests.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str, progress: Progress) -> Artifact | None:
        """The shard kept under a key, its bytes checked; a damaged one is said and removed."""
        place = self.folder / key
        if not place.exists():
            return None
        try:
            kept = open_artifact(place, KIND)
        except ArtifactError as error:
            progress.say(f"a kept shard is damaged and is computed again: {error}")
            shutil.rmtree(place, ignore_errors=True)
            return None
        os.utime(place)  # the newest in use, as `prune` sees it
        return kept

    def keep(self, key: str, shard: Artifact, names: Iterable[str], progress: Progress) -> None:
        """Keep the files of a finished shard; where that fails it is said, and nothing is lost."""
        try:
            with publish(self.folder / key, KIND) as staging:
                for name in names:
                    link_or_copy(shard.file(name), staging / name)
        except OSError as error:
            progress.say(f"the shard is not kept for the next run: {error}")

    def prune(self, most: int) -> None:
        """Remove all but the `most` shards that were used last.

        What a killed process left unfinished ages with the others.
        """
        if self.folder.is_dir():
            newest_first = sorted(self.folder.iterdir(), key=_last_used, reverse=True)
            for place in newest_first[most:]:
                # Another shard's task may be removing the same one.
                shutil.rmtree(place, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the disk has no hard links between the two."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _last_used(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except FileNotFoundError:  # removed by another task just now
        return 0.0
