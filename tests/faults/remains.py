"""What a home holds, by digest: to compare one whose runs were killed with an undisturbed one."""

import hashlib
from collections import defaultdict
from pathlib import Path

from slmrec.artifacts import MANIFEST, open_artifact
from slmrec.models.servable import Servable
from slmrec.registry.store import Registry
from slmrec.registry.versions import EVALUATION, MODEL, TIMINGS
from tests.faults.tiny import TIMED

PLAIN = ("metrics", "page", "card")
"""Outputs that are files."""


def artifacts(home: Path) -> dict[str, set[str]]:
    """Digests of everything whole that any run of a home has left, by step and port.

    Raises `ArtifactError` for a folder with a manifest whose bytes are not what that says.
    """
    found: dict[str, set[str]] = defaultdict(set)
    root = home / "cache" / "artifacts"
    for manifest in root.rglob(MANIFEST):
        if not any(part.startswith(".") for part in manifest.relative_to(root).parts):
            found[_port(root, manifest.parent)].add(open_artifact(manifest.parent).digest)
    for manifest in (home / "teacher-cache").glob(f"[!.]*/{MANIFEST}"):
        found[f"kept/{manifest.parent.name}"].add(open_artifact(manifest.parent).digest)
    return dict(found)


def files(home: Path) -> dict[str, set[str]]:
    """The same for outputs that are plain files, which a reader finds whole once a step has ended."""
    found: dict[str, set[str]] = defaultdict(set)
    root = home / "cache" / "artifacts"
    for name in PLAIN:
        for path in root.rglob(name):
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[_port(root, path)].add(digest)
    return dict(found)


def unlike(found: dict[str, set[str]], expected: dict[str, set[str]]) -> list[str]:
    """Ports with a digest that the undisturbed home does not have; those with clock times left out."""
    return [
        f"{port}: {sorted(digests - expected.get(port, set()))}"
        for port, digests in sorted(found.items())
        if port not in TIMED and not digests <= expected.get(port, set())
    ]


def leftovers(home: Path) -> list[str]:
    """Temporary files and folders that no later run would use or remove."""
    places = [
        *home.glob("runs/*/tmp"),
        *home.glob("checkpoints/*/*"),
        *(home / "cache" / "artifacts").rglob(".*.partial-*"),
    ]
    return [str(place.relative_to(home)) for place in places]


def check_registry(place: Path | str) -> str:
    """One version, whole, and it serves; gives its model's digest."""
    registry = Registry(place)
    numbers = [version.number for version in registry.versions()]
    assert numbers == [1], numbers
    for part in (MODEL, EVALUATION, TIMINGS):
        registry.artifact(1, part)
    production = registry.production()
    assert production is not None
    assert production.number == 1
    actions = [decision.action for decision in registry.decisions()]
    assert actions.count("promote") == 1, actions
    scores = Servable(registry.artifact(1, MODEL)).scores([[1, 2]])
    assert scores.shape[0] == 1
    return production.model_digest


def _port(root: Path, place: Path) -> str:
    return "/".join(place.relative_to(root).parts[2:])
