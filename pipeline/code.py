"""What the code of the steps is called: its digest, and the image that holds it."""

import hashlib
from pathlib import Path

from components import images
from pipeline.paths import CODE, ROOT

_PINS = images.PINS.relative_to(ROOT).as_posix()


def code_digest(root: Path = ROOT) -> str:
    """SHA-256 over everything that decides what a step does, in hexadecimal.

    Which image a release has pinned decides nothing: the image holds the code of this digest.
    """
    digest = hashlib.sha256()
    for name in CODE:
        path = root / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            relative = file.relative_to(root).as_posix()
            if relative == _PINS:
                continue
            if "__pycache__" in relative or ".egg-info" in relative or file.suffix == ".md":
                continue
            digest.update(relative.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def image_name(digest: str, target: str = "cpu") -> str:
    """How the image of this code is called; a changed line is another tag, so no tag ever moves on."""
    return f"{images.LOCAL}-{digest[:12]}" + ("" if target == "cpu" else f"-{target}")
