import pytest

from slmrec.artifacts import Artifact, open_artifact, publish
from slmrec.config import IngestInteractions
from slmrec.data.ingest import KIND, ingest
from slmrec.progress import Silent


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
