import os
import time
from pathlib import Path

import pytest

from components.runtime import hold
from pipeline import local
from pipeline.home import Home
from pipeline.leftovers import HOUR, sweep
from slmrec.artifacts import publish


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home in which a run was killed while it published a second artifact."""
    found = Home(tmp_path)
    (found.run("one") / "tmp" / "scratch").mkdir(parents=True)
    (found.run("one") / "events.jsonl").touch()
    with publish(found.artifacts / "one" / "step" / "whole", "thing"):
        pass
    (found.artifacts / "one" / "step" / ".thing.partial-7").mkdir()
    return found


def test_what_a_killed_run_left_is_removed_and_what_it_finished_stays(home: Home) -> None:
    sweep(home)
    assert not (home.run("one") / "tmp").exists()
    assert [path.name for path in (home.artifacts / "one" / "step").iterdir()] == ["whole"]


def test_nothing_of_a_run_is_touched_while_one_of_its_processes_lives(home: Home) -> None:
    with hold(home.run("one") / "events.jsonl"):
        sweep(home)
    assert (home.run("one") / "tmp" / "scratch").exists()
    assert (home.artifacts / "one" / "step" / ".thing.partial-7").exists()


def test_nothing_is_touched_when_nobody_can_say_whether_the_run_lives(home: Home) -> None:
    (home.run("one") / "events.jsonl").unlink()
    sweep(home)
    assert (home.run("one") / "tmp" / "scratch").exists()


def test_a_run_leaves_nothing_of_a_step_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(executed: Path, parameters: dict, session: dict, *_: object) -> None:
        (Path(session["pipeline_root"]) / "step" / ".thing.partial-7").mkdir(parents=True)
        raise RuntimeError("Task 'step' finished with status FAILURE")

    monkeypatch.setattr(local, "_execute", execute)
    home = Home(tmp_path)
    with pytest.raises(local.StepFailedError):
        local.run_pipeline(home, {"interactions": "sample:"}, lambda event: None)
    (run,) = (tmp_path / "runs").iterdir()
    assert not (run / "tmp").exists()
    assert list((home.artifacts / run.name / "step").iterdir()) == []


def test_unfinished_entries_go_after_an_hour(home: Home) -> None:
    home.task_cache.mkdir(parents=True)
    old, new = home.task_cache / ".kfp_cache_a.tmp", home.task_cache / ".key.7.seal"
    for path in (old, new, home.task_cache / "key.json"):
        path.touch()
    before = time.time() - HOUR - 1
    os.utime(old, (before, before))
    sweep(home)
    assert sorted(path.name for path in home.task_cache.iterdir()) == [".key.7.seal", "key.json"]
