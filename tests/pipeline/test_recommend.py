"""The command; what it writes is tested with `recommend_all`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from slmrec.errors import ArtifactError, ConfigError


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["recommend", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


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
