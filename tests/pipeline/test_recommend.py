"""The command; what it writes is tested with `recommend_all`."""

import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import polars as pl
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.errors import ArtifactError, ConfigError, SourceMissingError
from slmrec.registry.store import Registry
from tests.models.servables import catalogue_of, export_small
from tests.models.test_recommend_all import write_sequences
from tests.registry.registries import FACTS, WHEN
from tests.storage.cloud import serve_bucket


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["recommend", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def words_of(*arguments: str) -> str:
    """The output without its line breaks, which depend on the terminal."""
    return " ".join(invoke(*arguments).split())


def test_a_home_where_nothing_serves_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no production yet; run the pipeline first"):
        invoke("--home", str(tmp_path))


def test_a_model_is_production_or_a_number(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="found 'best', expected 'production', 'candidate' or a number"
    ):
        invoke("--home", str(tmp_path), "--model", "best")
    with pytest.raises(ArtifactError, match=r"000004/version\.json: missing"):
        invoke("--home", str(tmp_path), "--model", "4")


@pytest.fixture
def served_home(tmp_path: Path) -> tuple[str, ...]:
    """A home where a small model serves; the arguments that name it and three people's histories."""
    parts = {"model": export_small(tmp_path / "model", catalogue_of([5, 1, 9, 2, 7]))}
    for kind in ("evaluation", "timings"):
        with publish(tmp_path / kind, kind) as staging:
            write_json(staging / "content.json", 1)
        parts[kind] = open_artifact(tmp_path / kind)
    registry = Registry(tmp_path / "home" / "registry")
    registry.add(*parts.values(), FACTS, code_digest="code", settings_digest="settings", time=WHEN)
    registry.promote(1, None, reason="first", actor="me", time=WHEN)
    ids = ["i1", "i2", "i3", "i4", "i5"]
    write_sequences(tmp_path / "sequences", ids, [[1, 2], [3], [4, 5, 1]])
    return ("--home", str(tmp_path / "home"), "--sequences", str(tmp_path / "sequences"))


def test_sequences_are_those_of_the_newest_run_that_has_all_of_them(
    served_home, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    whole, part = (home / "cache" / "artifacts" / name / "sequences" for name in ("own", "fetched"))
    for place in (whole, part):
        shutil.copytree(tmp_path / "sequences", place)
    (part / "items.npy").unlink()  # 'fetch' brings what pages read
    for day, place in (("20260101", part), ("20251231", whole)):
        summary = {"places": {"build_sequences.sequences": str(place)}, "started": WHEN}
        (home / "runs" / day).mkdir(parents=True)
        write_json(home / "runs" / day / "summary.json", summary)

    lists = ("--home", str(home), "--k", "2", "--output", str(tmp_path / "lists.parquet"))
    assert "3 lists by version 1" in words_of(*lists)

    shutil.rmtree(whole)
    with pytest.raises(ConfigError, match="'fetch --artifacts all', or give --sequences"):
        invoke(*lists)


def test_lists_go_to_a_bucket_as_they_go_to_a_file(
    served_home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = words_of(*served_home, "--k", "2", "--output", str(tmp_path / "lists.parquet"))
    assert "3 lists by version 1" in said
    with serve_bucket("shop") as (bucket, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        for _ in range(2):  # the second takes the place of the first
            uri = "gs://shop/lists/today.parquet"
            assert f"{uri}: 3 lists" in words_of(*served_home, "--k", "2", "--output", uri)
        assert bucket.writes == ["lists/today.parquet"] * 2
        (tmp_path / "fetched.parquet").write_bytes(bucket.objects["lists/today.parquet"].content)
    assert pl.read_parquet(tmp_path / "fetched.parquet").equals(
        pl.read_parquet(tmp_path / "lists.parquet")
    )
    assert list((tmp_path / "home" / "recommendations").iterdir()) == []


def test_two_at_once_into_one_object_do_not_harm_each_other(
    served_home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "gs://shop/lists/today.parquet"
    with serve_bucket("shop") as (bucket, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        command = [sys.executable, "-m", "pipeline", "recommend", *served_home, "--output", uri]
        calls = [
            subprocess.Popen([*command, "--k", k], stdout=PIPE, stderr=PIPE, text=True)
            for k in ("2", "3")
        ]
        said = [call.communicate(timeout=120) for call in calls]
        codes = [call.returncode for call in calls]
        content = bucket.objects["lists/today.parquet"].content
    assert 0 in codes, said
    for code, (_, error) in zip(codes, said, strict=True):
        # Who looked at the object before the other one wrote it takes nothing away from him.
        assert code == 0 or "somebody else wrote it meanwhile" in " ".join(error.split())
    (tmp_path / "fetched.parquet").write_bytes(content)
    assert len(pl.read_parquet(tmp_path / "fetched.parquet")) == 3


def test_lists_stay_here_when_the_bucket_takes_none(
    served_home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_bucket("shop") as (bucket, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        bucket.fail("POST", "/upload/", 403, message="no storage.objects.create access")
        with pytest.raises(SourceMissingError, match=r"gs://shop/x\.parquet: could not be written"):
            invoke(*served_home, "--output", "gs://shop/x.parquet")
        assert bucket.objects == {}
    (kept,) = (tmp_path / "home" / "recommendations").rglob("x.parquet")
    assert len(pl.read_parquet(kept)) == 3


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("gs://shop/", "naming one object"),
        ("gs://shop/../x", r"without '\.' or"),
        ("file:///tmp/x", "expected a path or gs://"),
        ("/gcs/shop/x.parquet", "name the bucket itself, gs://shop/x.parquet"),
    ],
)
def test_an_output_is_refused_before_anything_is_made(served_home, output: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        invoke(*served_home, "--output", output)
