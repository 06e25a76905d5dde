"""Finished pieces of a study, kept under a digest of all that decides them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from slmrec.artifacts import Artifact, canonical_json, digest_text, open_artifact
from slmrec.errors import ArtifactError
from slmrec.progress import Progress
from slmrec.studies.report import Report

Make = Callable[[Path, Progress], str]
"""Publishes the artifact at a path and returns a headline."""


class Kept:
    """A folder of artifacts that are made once."""

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder = folder
        self.report = report

    def get(
        self,
        kind: str,
        label: str,
        config: str,
        inputs: Mapping[str, Artifact],
        make: Make,
        *,
        trains: bool = False,
    ) -> Artifact:
        """The artifact of `kind` that these settings give from these inputs, made if need be.

        `config` is canonical JSON; `label` is how people are told of it.
        """
        place = self.place(kind, config, inputs)
        if place.exists():
            try:
                found = open_artifact(place, kind)
            except ArtifactError as error:
                self.report.say(f"{label}: made again, since {error}")
            else:
                self.report.kept(label, trains=trains)
                return found
        with self.report.piece(label, trains=trains) as piece:
            piece.headline = make(place, piece.progress)
        return open_artifact(place, kind)

    def checkpoints(self, kind: str, config: str, inputs: Mapping[str, Artifact]) -> Path:
        """Where the training of such an artifact goes on after it was stopped."""
        return self._folder / "checkpoints" / self.place(kind, config, inputs).name

    def place(self, kind: str, config: str, inputs: Mapping[str, Artifact]) -> Path:
        """Where such an artifact lies, or would."""
        digests = {name: artifact.digest for name, artifact in inputs.items()}
        key = digest_text(canonical_json({"config": config, "inputs": digests}))
        return self._folder / f"{kind}-{key[:16]}"
