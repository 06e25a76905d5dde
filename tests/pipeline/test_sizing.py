import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.paths import RESOURCES_FILE
from pipeline.resources import Resources, load_resources
from pipeline.sizing import newest_summary, proposed, rewritten, taken
from slmrec.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    steps = [
        {"name": "ingest_interactions", "seconds": 1.0, "cached": True, "peak_rss_mb": 9999.0},
        {"name": "train_teacher", "seconds": 3600.0, "cached": False, "peak_rss_mb": 4000.0},
        {"name": "cache_teacher[0/2]", "seconds": 60.0, "cached": False, "peak_rss_mb": 800.0},
        {"name": "cache_teacher[1/2]", "seconds": 480.0, "cached": False, "peak_rss_mb": 500.0},
    ]
    for run, content in (("2026-1", {"steps": []}), ("2026-2", {"steps": steps})):
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(content))
    return tmp_path


def test_sizes_have_room_above_the_costliest_instance_of_what_ran(home: Path) -> None:
    now = load_resources()
    took = taken(newest_summary(home))
    assert took["cache_teacher"] == (480.0, pytest.approx(800 * 2**20 / 1e9))
    better = proposed(now, took)
    # 4000 MiB are 4.19 GB, half as much again 6.3; five times an hour are 300 minutes.
    assert (better.of("train_teacher").memory_gb, better.of("train_teacher").timeout_minutes) == (
        7,
        300,
    )
    assert (better.of("cache_teacher").memory_gb, better.of("cache_teacher").timeout_minutes) == (
        2,
        40,
    )
    assert better.of("train_teacher").cpu == now.of("train_teacher").cpu
    assert better.of("ingest_interactions") == now.of(
        "ingest_interactions"
    )  # it came from the cache


def test_file_keeps_its_comments_when_sizes_are_written(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "resources.yaml"
    file.write_text(RESOURCES_FILE.read_text())
    asked = ["study", "resources", "--home", str(home), "--file", str(file)]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0
    assert file.read_text() == RESOURCES_FILE.read_text()
    written = CliRunner().invoke(app, [*asked, "--write"])
    assert "make compile" in written.output
    comments = [line for line in RESOURCES_FILE.read_text().splitlines() if line.startswith("#")]
    assert [line for line in file.read_text().splitlines() if line.startswith("#")] == comments
    assert load_resources(file) == proposed(load_resources(), taken(newest_summary(home)))


def test_comment_beside_a_step_stays_when_sizes_are_written() -> None:
    text = RESOURCES_FILE.read_text().replace("retries: 0}", "retries: 0}  # never twice")
    now = load_resources()
    assert "retries: 0}  # never twice\n" in rewritten(text, now)


def test_step_is_named_when_there_is_none_of_its_name(tmp_path: Path) -> None:
    steps = [{"name": "bake", "seconds": 1.0, "cached": False, "peak_rss_mb": 1.0}]
    (tmp_path / "summary.json").write_text(json.dumps({"steps": steps}))
    with pytest.raises(ConfigError, match="no step is called 'bake'"):
        taken(tmp_path / "summary.json")


def test_accelerators_survive_when_sizes_are_written() -> None:
    now = load_resources()
    limits = now.model_dump()
    limits["train_teacher"] |= {"accelerator": "nvidia.com/gpu", "accelerators": 2}
    text = rewritten(RESOURCES_FILE.read_text(), Resources.model_validate(limits))
    assert "accelerator: nvidia.com/gpu, accelerators: 2" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [("{}", "not a run's summary"), ("[1", "not a run's summary"), (None, "no such file")],
)
def test_summary_is_named_when_it_cannot_be_read(
    tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "summary.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        taken(path)


def test_home_is_named_when_no_run_finished(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runs: no finished run"):
        newest_summary(tmp_path)
