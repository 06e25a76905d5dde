import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.local import StepFailedError
from slmrec.errors import ConfigError, SourceMissingError

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "sample:users=120,items=60,interactions=2400"
TINY = [
    "pretrain_items.width=16",
    "pretrain_items.layers=1",
    "pretrain_items.training.epochs=2",
    "train_teacher.width=16",
    "train_teacher.feed_forward=32",
    "train_teacher.training.epochs=2",
    "evaluate_models.resamples=200",
]
SETS = [part for setting in TINY for part in ("--set", setting)]


def study(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "study", *arguments, *SETS],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def invoke(*arguments: str) -> str:
    """Run the command in this process; gives what it printed."""
    return CliRunner().invoke(app, ["study", *arguments], catch_exceptions=False).output


def test_a_study_leaves_its_files_and_goes_on_where_it_was(tmp_path: Path) -> None:
    output = tmp_path / "results"
    arguments = ("depth", "--interactions", SAMPLE, "--depths", "1,2", "--seeds", "1")
    finished = study(*arguments, "--output", str(output), "--json")
    assert finished.returncode == 0, finished.stderr
    printed = json.loads(finished.stdout)
    assert printed == json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert printed["data"]["name"] == SAMPLE
    assert printed["command"].startswith(
        f"python -m pipeline study depth --interactions {SAMPLE} --set "
    )
    assert printed["command"].endswith("--depths 1,2 --seeds 1")
    assert ElementTree.parse(output / "figure.svg").getroot().tag.endswith("svg")
    # what is heavy stays out of git
    assert (output / "work" / ".gitignore").read_text() == "*\n"

    before = {name: (output / name).read_bytes() for name in ("README.md", "results.json")}
    again = invoke(*arguments, *SETS, "--output", str(output))
    assert "ingest_interactions" not in again
    assert "3 trainings, 0 of them now" in again
    assert printed["findings"][0] in again
    assert {name: (output / name).read_bytes() for name in before} == before


def test_a_folder_that_is_there_keeps_what_git_ignores_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise StepFailedError("validate_data", "too few users", 3, tmp_path / "log")

    monkeypatch.setattr("pipeline.study._run", ended)
    (tmp_path / ".gitignore").write_text("*.log\n")
    output = ("--output", str(tmp_path / "results"), "--work", str(tmp_path))
    with pytest.raises(StepFailedError):
        invoke("certificate", "--interactions", SAMPLE, *output)
    assert (tmp_path / ".gitignore").read_text() == "*.log\n"


def test_bad_data_ends_with_the_data_step_and_its_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("name,price\nx,1\n")
    finished = study(
        *("certificate", "--interactions", str(log), "--output", str(tmp_path / "results"))
    )
    assert finished.returncode == 3
    assert "error: ingest_interactions" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "results" / "README.md").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["depth", "--depths", "4"], ConfigError, "--depths: found '4'"),
        (["depth", "--depths", "2,1"], ConfigError, "ascending"),
        (["depth", "--depths", "0,1"], ConfigError, "ascending"),
        (["depth", "--depths", "one,two"], ConfigError, "found 'one,two'"),
        (["ablation", "--variants", "+cosin"], ConfigError, r"unknown variant '\+cosin'"),
        (["certificate", "--set", "train_teacher.layres=2"], ConfigError, "did you mean 'layers'"),
        (["certificate", "--interactions", "absent.csv"], SourceMissingError, "no such file"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_written(
    tmp_path: Path, arguments: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        invoke(*arguments, "--output", str(tmp_path / "results"))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["depth", "ablation", "certificate"])
def test_help_gives_an_example(name: str) -> None:
    shown = CliRunner().invoke(app, ["study", name, "--help"])
    assert f"python -m pipeline study {name}" in " ".join(shown.output.split())
