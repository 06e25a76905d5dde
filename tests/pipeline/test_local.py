import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from components.runtime import EVENTS_VARIABLE
from pipeline import local
from pipeline.code import code_digest
from pipeline.events import EventReader
from pipeline.home import Home
from pipeline.local import for_this_machine, verified
from pipeline.paths import PIPELINE_FILE
from slmrec.artifacts import open_artifact, publish


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name in ("src", "components", "validation"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.py").write_text(f"# {name}")
    (tmp_path / "requirements.lock").write_text("a==1\n")
    return tmp_path


@pytest.mark.parametrize(
    "changed", ["src/file.py", "components/file.py", "validation/file.py", "requirements.lock"]
)
def test_code_digest_changes_when_what_decides_a_step_changes(code: Path, changed: str) -> None:
    before = code_digest(code)
    (code / changed).write_text("other")
    assert code_digest(code) != before


def test_code_digest_stays_when_only_caches_times_or_documents_change(code: Path) -> None:
    before = code_digest(code)
    (code / "src" / "__pycache__").mkdir()
    (code / "src" / "__pycache__" / "file.pyc").write_text("x")
    (code / "README.md").write_text("x")
    (code / "src" / "file.py").touch()
    assert code_digest(code) == before


def test_code_digest_changes_when_a_file_is_renamed(code: Path) -> None:
    before = code_digest(code)
    (code / "src" / "file.py").rename(code / "src" / "other.py")
    assert code_digest(code) != before


def test_what_runs_here_is_the_compiled_file_without_what_clusters_need() -> None:
    compiled = PIPELINE_FILE.read_text(encoding="utf-8")
    here, there = yaml.safe_load(for_this_machine(compiled)), yaml.safe_load(compiled)
    assert "retryPolicy" in compiled
    assert "retryPolicy" not in for_this_machine(compiled)
    for executor in there["deploymentSpec"]["executors"].values():
        del executor["container"]["resources"]
    assert here["deploymentSpec"] == there["deploymentSpec"]
    assert here["root"]["inputDefinitions"] == there["root"]["inputDefinitions"]
    assert here["components"].keys() == there["components"].keys()


def test_every_task_is_told_from_an_orphan_by_its_command() -> None:
    compiled = yaml.safe_load(PIPELINE_FILE.read_text(encoding="utf-8"))
    executors = compiled["deploymentSpec"]["executors"].values()
    assert {tuple(executor["container"]["command"][:2]) for executor in executors} == {
        ("sh", "-ec")
    }


class TestVerifiedCache:
    @pytest.fixture
    def stored(self, tmp_path: Path) -> Path:
        with publish(tmp_path / "cache", "thing") as staging:
            (staging / "a.json").write_text("1")
        return tmp_path / "cache"

    def look_up(self, place: Path, digest: str, told: list) -> object:
        artifact = SimpleNamespace(
            path=str(place),
            metadata={"step": "make", "digests": {"thing": digest}, "seconds": 1.0},
        )
        return verified(lambda key: {"thing": artifact}, told.append)("key")

    def test_result_is_used_and_told_when_its_bytes_are_unchanged(self, stored: Path) -> None:
        told: list = []
        assert self.look_up(stored, open_artifact(stored).digest, told) is not None
        assert told[0]["event"] == "cached"
        assert told[0]["step"] == "make"
        assert told[0]["outputs"] == {"thing": str(stored)}

    def test_result_is_not_used_when_a_byte_changed(self, stored: Path) -> None:
        digest = open_artifact(stored).digest
        (stored / "a.json").write_text("2")
        told: list = []
        assert self.look_up(stored, digest, told) is None
        assert told == []

    def test_result_is_not_used_when_another_whole_artifact_took_its_place(
        self, stored: Path
    ) -> None:
        digest = open_artifact(stored).digest
        with publish(stored, "thing") as staging:
            (staging / "a.json").write_text("2")
        assert self.look_up(stored, digest, []) is None

    def test_result_is_not_used_when_no_digest_was_recorded(self, stored: Path) -> None:
        artifact = SimpleNamespace(path=str(stored), metadata={})
        assert verified(lambda key: {"thing": artifact}, print)("key") is None

    def test_result_is_not_used_when_the_step_said_so(self, stored: Path) -> None:
        metadata = {"digests": {"thing": open_artifact(stored).digest}, "reusable": False}
        artifact = SimpleNamespace(path=str(stored), metadata=metadata)
        assert verified(lambda key: {"thing": artifact}, print)("key") is None

    def test_result_is_not_used_when_its_folder_is_gone(self, tmp_path: Path) -> None:
        assert self.look_up(tmp_path / "gone", "x", []) is None

    def test_plain_file_is_checked_by_its_digest(self, tmp_path: Path) -> None:
        import hashlib

        page = tmp_path / "page.html"
        page.write_text("hello")
        digest = hashlib.sha256(b"hello").hexdigest()
        assert self.look_up(page, digest, []) is not None
        page.write_text("hallo")
        assert self.look_up(page, digest, []) is None

    def test_result_is_not_used_when_it_holds_no_artifact(self) -> None:
        assert verified(lambda key: {}, print)("key") is None

    def test_miss_stays_a_miss(self) -> None:
        assert verified(lambda key: None, print)("key") is None


def test_events_are_delivered_whole_and_in_order(tmp_path: Path) -> None:
    told: list = []
    path = tmp_path / "events.jsonl"
    with EventReader(path, told.append) as reader, path.open("a") as stream:
        stream.write('{"event": "started", "step": "a"}\n{"event": "failed", "st')
        stream.flush()
        reader.drain()
        assert [event["event"] for event in told] == ["started"]
        stream.write('ep": "a", "message": "m", "exit_code": 3}\n')
    assert [event["event"] for event in told] == ["started", "failed"]
    assert reader.failure == told[1]


def test_run_fails_when_a_step_that_started_never_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # KFP takes a container that is gone before it is asked for its exit code for one that did well.
    def execute(*_: object) -> None:
        with Path(os.environ[EVENTS_VARIABLE]).open("a") as stream:
            stream.write('{"event": "started", "step": "train_teacher"}\n')

    monkeypatch.setattr(local, "_execute", execute)
    parameters = {"interactions": "sample:"}
    with pytest.raises(local.StepFailedError, match="train_teacher: ended without a word"):
        local.run_pipeline(Home(tmp_path), parameters, lambda event: None)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("", "ingest_interactions: ended without a word"),
        (
            '{"event": "failed", "step": "ingest_interactions", "message": "no column", '
            '"exit_code": 3}\n',
            "ingest_interactions: no column",
        ),
    ],
)
def test_a_step_is_blamed_when_the_next_one_misses_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, words: str
) -> None:
    def execute(*_: object) -> None:
        with Path(os.environ[EVENTS_VARIABLE]).open("a") as stream:
            stream.write('{"event": "started", "step": "ingest_interactions"}\n' + last)
        raise ValueError("Tried to get output 'log' from task 'ingest-interactions', not found.")

    monkeypatch.setattr(local, "_execute", execute)
    with pytest.raises(local.StepFailedError, match=words):
        local.run_pipeline(Home(tmp_path), {"interactions": "sample:"}, lambda event: None)


def test_an_error_that_no_step_has_made_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(*_: object) -> None:
        raise ValueError("what nobody expected")

    monkeypatch.setattr(local, "_execute", execute)
    with pytest.raises(ValueError, match="nobody expected"):
        local.run_pipeline(Home(tmp_path), {"interactions": "sample:"}, lambda event: None)
