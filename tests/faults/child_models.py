"""What a child process does with models; importing this loads torch, before any clock runs."""

from pathlib import Path

from slmrec.artifacts import open_artifact
from slmrec.models.checkpoint import load_model


def weights(folder: Path) -> None:
    """Open the weights of a student."""
    load_model(open_artifact(folder))
