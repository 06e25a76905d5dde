import io
import zipfile

import polars as pl
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from slmrec.data.public.logs import LOGS
from slmrec.errors import ConfigError, DataError

RATINGS = "userId,movieId,rating,timestamp\n1,10,4.5,1600000000\n"
MOVIES = "movieId,title,genres\n10,Toy Story,Comedy\n"


def invoke(*arguments: str) -> str:
    """Run the command; what it printed."""
    result = CliRunner().invoke(app, ["datasets", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_names_every_log_on_one_line():
    lines = invoke("list").splitlines()
    for log in LOGS.values():
        (line,) = [line for line in lines if line.startswith(f"{log.name} ")]
        assert log.size in line
        assert log.what in line


def test_a_log_is_fetched_and_its_terms_and_the_next_command_are_printed(loopback, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml-latest-small/ratings.csv", RATINGS)
        archive.writestr("ml-latest-small/movies.csv", MOVIES)
    loopback.files["ml-latest-small.zip"] = packed.getvalue()
    arguments = ("fetch", "ml-latest-small", "--output", str(tmp_path), "--mirror", loopback.url)
    said = invoke(*arguments)
    folder = tmp_path / "ml-latest-small"
    assert (folder / "ratings.csv").read_text() == RATINGS
    assert f"terms: {LOGS['ml-latest-small'].terms}" in said
    assert f"run --interactions {folder}/ratings.csv --items {folder}/movies.csv" in said
    assert "already there" in invoke(*arguments)


def test_a_size_limit_is_passed_on(loopback, tmp_path):
    loopback.files["ml-latest-small.zip"] = bytes(2_000_000)
    with pytest.raises(DataError, match="--max-megabytes"):
        invoke(
            *("fetch", "ml-latest-small", "--output", str(tmp_path), "--mirror", loopback.url),
            *("--max-megabytes", "1"),
        )


def test_a_sample_is_written_with_its_items(tmp_path):
    log = tmp_path / "my log.parquet"
    said = invoke("sample", "--users", "20", "--items", "50", "--output", str(log))
    assert pl.read_parquet(log)["user_id"].n_unique() == 20
    assert pl.read_parquet(tmp_path / "my log-items.parquet").height == 50
    assert f"--interactions '{log}'" in said


def test_a_sample_does_not_write_over_files_unless_forced(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("mine")
    with pytest.raises(ConfigError, match=r"log\.csv: exists"):
        invoke("sample", "--users", "20", "--items", "50", "--output", str(log))
    assert log.read_text() == "mine"
    invoke("sample", "--users", "20", "--items", "50", "--output", str(log), "--force")
    assert log.read_text().startswith('"user_id"')
