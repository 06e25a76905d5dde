import pytest

from components.ingest_interactions.step import run as ingest
from components.validate_data.step import run
from slmrec.artifacts import open_artifact
from slmrec.config import IngestInteractions, ValidateData
from slmrec.data.source import snapshot


@pytest.fixture
def log(tmp_path):
    def make(text):
        source = tmp_path / "log.csv"
        source.write_text(text)
        config = IngestInteractions().to_json()
        ingest(str(source), "", snapshot(str(source), ""), config, str(tmp_path / "log"))
        return str(tmp_path / "log")

    return make


def test_the_verdict_is_published_when_the_log_passes(log, tmp_path):
    path = log("user,item,timestamp\nu1,i1,1\nu2,i2,2\nu2,i1,3\n")
    metadata = run(path, "", ValidateData().to_json(), str(tmp_path / "verdict"))
    verdict = open_artifact(tmp_path / "verdict", "validation")
    assert verdict.properties["success"] is True
    assert verdict.inputs["interactions"] == open_artifact(path).digest
    assert metadata["headline"].endswith("checks passed on 3 rows")


def test_the_verdict_is_published_too_when_the_log_fails(log, tmp_path, capsys):
    path = log("user,item,timestamp\nu1,i1,1\nu2,i2,2\nu2,i1,3\nu2,i1,never\n")
    with pytest.raises(SystemExit) as caught:
        run(path, "", ValidateData().to_json(), str(tmp_path / "verdict"))
    assert caught.value.code == 3
    assert "1 of 4 rows" in capsys.readouterr().err
    verdict = open_artifact(tmp_path / "verdict", "validation")
    assert verdict.properties["success"] is False
    assert verdict.file("validation.html").exists()


def test_the_check_its_column_and_rows_are_named_when_ratings_are_out_of_range(
    log, tmp_path, capsys
):
    path = log("user,item,timestamp,rating\nu1,i1,1,4\nu2,i2,2,5\nu2,i1,3,5000\n")
    with pytest.raises(SystemExit):
        run(path, "", ValidateData().to_json(), str(tmp_path / "verdict"))
    message = capsys.readouterr().err
    for word in ("expect_column_values_to_be_between", "rating", "1 of 3", "at most 1,000"):
        assert word in message
