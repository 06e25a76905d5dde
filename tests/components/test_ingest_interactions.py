import pytest

from components.ingest_interactions.step import run
from slmrec.artifacts import open_artifact
from slmrec.config import IngestInteractions
from slmrec.data.ingest import ingest
from slmrec.data.source import snapshot

CONFIG = IngestInteractions().to_json()


def test_the_log_is_published_when_the_source_is_sound(tmp_path):
    source = tmp_path / "log.csv"
    source.write_text("user,item,timestamp\nu1,i1,1\nu2,i1,2\nu2,,3\n")
    digest = snapshot(str(source), "")
    metadata = run(str(source), "", digest, CONFIG, str(tmp_path / "out" / "log"))
    artifact = open_artifact(tmp_path / "out" / "log", "interactions")
    assert artifact.properties["source_digest"] == digest
    assert metadata["digest"] == artifact.digest
    assert metadata["headline"] == "2 users · 1 items · 2 interactions · 1 quarantined"
    assert (metadata["rows"], metadata["quarantined"]) == (2, 1)


def test_the_step_stops_when_the_source_changes_while_it_is_read(tmp_path, capsys, monkeypatch):
    source = tmp_path / "log.csv"
    source.write_text("user,item,timestamp\nu1,i1,1\n")
    digest = snapshot(str(source), "")

    def changing(*given):
        source.write_text("user,item,timestamp\nu1,i1,2\n")
        return ingest(*given)

    monkeypatch.setattr("components.ingest_interactions.step.ingest", changing)
    with pytest.raises(SystemExit) as caught:
        run(str(source), "", digest, CONFIG, str(tmp_path / "log"))
    assert caught.value.code == 3
    assert "changed since the run began" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()


def test_the_step_stops_when_the_source_changed_after_the_snapshot(tmp_path, capsys):
    source = tmp_path / "log.csv"
    source.write_text("user,item,timestamp\nu1,i1,1\n")
    digest = snapshot(str(source), "")
    source.write_text("user,item,timestamp\nu1,i1,2\n")
    with pytest.raises(SystemExit) as caught:
        run(str(source), "", digest, CONFIG, str(tmp_path / "log"))
    assert caught.value.code == 3
    assert "changed since the run began" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()
