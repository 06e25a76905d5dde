import os
from pathlib import Path

import pytest

from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.config import IngestInteractions
from slmrec.data.ingest import KIND, ingest
from slmrec.progress import Silent


@pytest.fixture
def real_data() -> Path:
    default = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    folder = Path(os.environ.get("SLMREC_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent, SLMREC_DATA names another folder")
    return folder


@pytest.fixture
def ingested(tmp_path):
    """Publishes an `interactions` artifact from the text of a CSV file."""

    def make(text: str, items: str = "", **settings: object) -> Artifact:
        source = tmp_path / "log.csv"
        source.write_text(text, encoding="utf-8")
        catalogue = tmp_path / "items.csv"
        if items:
            catalogue.write_text(items, encoding="utf-8")
        with publish(tmp_path / "log", KIND) as directory:
            ingest(
                str(source),
                str(catalogue) if items else "",
                IngestInteractions(**settings),
                directory,
                Silent(),
            )
        return open_artifact(tmp_path / "log", KIND)

    return make
