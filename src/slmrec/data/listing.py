"""A source as it was: its files with sizes and digests, and how much of it is another one now."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SOURCE_FILES = "source.json"
"""Name under which artifacts keep the files of a listing."""
Files = Mapping[str, tuple[int, str]]
"""Size and digest of each file by its name: bytes, and of a sample its interactions."""


@dataclass(frozen=True)
class Listing:
    """What a source held at one moment."""

    digest: str
    """Of the whole, as `slmrec.data.source.snapshot` gives it."""
    files: Files = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())


def changed_share(before: Files, now: Files) -> float:
    """How much of a source changed: what came or what went, whichever is more, over what there was.

    A file that grew counts with its growth, as if it had been appended to: nobody reads it to know.
    One that has other bytes and did not grow was rewritten: all of it went, and all of it came.
    """
    came = went = 0
    for name in {*before, *now}:
        was, digest_was = before.get(name, (0, ""))
        size, digest = now.get(name, (0, ""))
        if digest == digest_was:
            continue
        if size > was:
            came += size - was
        else:
            came += size
            went += was
    return max(came, went) / max(sum(size for size, _ in before.values()), 1)


def parse_files(content: Mapping[str, object]) -> Files:
    """The files of a listing from JSON. Raises `ValueError` where it is another thing."""
    files: dict[str, tuple[int, str]] = {}
    for name, entry in content.items():
        match entry:
            case [int(size), str(digest)]:
                files[name] = (size, digest)
            case _:
                raise ValueError(f"'{name}' is {str(entry)[:60]}, expected a size and a digest")
    return files
