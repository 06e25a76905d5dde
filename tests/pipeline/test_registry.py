"""The commands that look at a registry and decide."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.errors import ConfigError
from slmrec.registry.store import Registry
from slmrec.registry.versions import DataFacts
from tests.storage.cloud import serve_bucket

WHEN = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose registry has two versions; the first serves."""
    registry = Registry(tmp_path / "registry")
    for number in (1, 2):
        folder = tmp_path / str(number)
        with publish(folder / "model", "servable", properties={"name": "int8"}) as staging:
            write_json(staging / "content.json", number)
        value = {"value": number / 10, "ci95": [0.0, 1.0]}
        models = [{"name": "int8", "bytes": 1_500_000 * number, "metrics": {"ndcg@10": value}}]
        with publish(folder / "evaluation", "evaluation") as staging:
            write_json(staging / "metrics.json", {"users": 700, "models": models})
        with publish(folder / "timings", "timings") as staging:
            write_json(staging / "timings.json", {"int8": {"batch1_p50": number / 4}})
        registry.add(
            *(open_artifact(folder / name) for name in ("model", "evaluation", "timings")),
            DataFacts("sequences", 1000 * number, 99),
            code_digest="code",
            settings_digest="settings",
            time=WHEN,
        )
    registry.promote(1, None, reason="first", actor="me", time=WHEN)
    return tmp_path


def invoke(home: Path, *arguments: str) -> str:
    command = ["registry", *arguments, "--home", str(home)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_shows_figures_and_what_serves(home: Path) -> None:
    lines = invoke(home, "list").splitlines()
    assert lines[1].split() == ["1", "*", "int8", "0.1000", "1.50", "0.25", "1,000", WHEN]
    assert lines[2].split() == ["2", "int8", "0.2000", "3.00", "0.50", "2,000", WHEN]
    found = json.loads(invoke(home, "list", "--json"))
    assert found["production"] == 1
    assert [version["ndcg@10"] for version in found["versions"]] == [0.1, 0.2]


def test_a_version_whose_evaluation_was_altered_is_listed_without_its_figures(home: Path) -> None:
    metrics = home / "registry" / "versions" / "000001" / "evaluation" / "metrics.json"
    metrics.write_text(metrics.read_text().replace("0.1", "0.9"))
    command = ["registry", "list", "--json", "--home", str(home)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert [version["ndcg@10"] for version in found["versions"]] == [None, 0.2]
    assert "not what the evaluation wrote" in " ".join(result.stderr.split())


def test_a_version_is_shown_whole(home: Path) -> None:
    found = json.loads(invoke(home, "show", "2"))
    assert found["data"]["interactions"] == 2000
    assert found["measured"]["users_evaluated"] == 700
    assert open_artifact(Path(found["place"]) / "model").digest == found["model_digest"]
    assert json.loads(invoke(home, "show", "production"))["number"] == 1


def test_a_difference_holds_what_differs_and_nothing_else(home: Path) -> None:
    found = json.loads(invoke(home, "diff", "1", "2"))
    assert found["ndcg@10"] == [0.1, 0.2]
    assert found["data.interactions"] == [1000, 2000]
    assert "code_digest" not in found
    assert json.loads(invoke(home, "diff", "2", "2")) == {}


def test_a_promotion_and_its_rollback_stand_in_the_decisions(home: Path) -> None:
    assert "production is version 2" in invoke(
        home, "promote", "2", "--reason", "better", "--actor", "ann"
    )
    said = invoke(home, "rollback", "--reason", "complaints", "--actor", "bob")
    assert "production is version 1, as before version 2" in said
    made = json.loads(invoke(home, "decisions", "--json"))
    assert [(one["action"], one["version"], one["actor"], one["reason"]) for one in made] == [
        ("promote", 1, "me", "first"),
        ("promote", 2, "ann", "better"),
        ("rollback", 1, "bob", "complaints"),
    ]
    assert made[-1]["time"] > WHEN
    lines = invoke(home, "decisions").splitlines()
    assert lines[3].split()[1:] == ["rollback", "1", "2", "bob", "complaints"]


def test_old_versions_are_removed_but_not_what_serves(home: Path) -> None:
    assert "removed versions: none" in invoke(home, "prune", "--keep", "1")
    invoke(home, "promote", "2", "--reason", "better")
    assert "removed versions: none" in invoke(home, "prune", "--keep", "1")


def test_the_candidate_is_marked_and_can_be_named(home: Path) -> None:
    Registry(home / "registry").propose(2, reason="newest", actor="run", time=WHEN)
    assert invoke(home, "list").splitlines()[2].split()[:2] == ["2", "+"]
    assert json.loads(invoke(home, "list", "--json"))["candidate"] == 2
    assert json.loads(invoke(home, "diff", "production", "candidate"))["number"] == [1, 2]
    assert "production is version 2" in invoke(home, "promote", "candidate", "--reason", "seen")


def test_people_can_reject_ask_and_snooze(home: Path) -> None:
    registry = Registry(home / "registry")
    registry.propose(2, reason="newest", actor="run", time=WHEN)
    assert "version 2 is rejected" in invoke(home, "reject", "candidate", "--reason", "dull")
    assert "was already rejected" in invoke(home, "reject", "2", "--reason", "dull")
    assert "the next run trains\n" in invoke(home, "retrain", "--reason", "season")
    assert "asked for it before" in invoke(home, "retrain", "--reason", "season")
    until = "2999-01-31T09:00:00+00:00"
    assert until in invoke(home, "snooze", until, "--reason", "a sale")
    channels = registry.channels()
    assert channels.request is not None
    assert channels.snooze is not None
    assert (channels.candidate, channels.snooze.until) == (None, until)


def test_a_registry_in_a_bucket_is_read_and_moved(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Registry(home / "registry")
    with serve_bucket("models") as (_, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        remote = Registry("gs://models/team/registry")
        for version in local.versions():
            number = version.number
            remote.add(
                *(local.artifact(number, part) for part in ("model", "evaluation", "timings")),
                version.data,
                code_digest="code",
                settings_digest="settings",
                time=WHEN,
            )
        place = ("--registry", remote.place)
        assert "nothing serves yet" in invoke(home, "list", *place)
        invoke(home, "promote", "1", "--reason", "first", *place)
        invoke(home, "promote", "2", "--reason", "better", *place)
        said = invoke(home, "rollback", "--reason", "worse", *place)
        assert "production is version 1, as before version 2" in said
        shown = json.loads(invoke(home, "show", "production", *place))
        assert shown["place"] == "gs://models/team/registry/versions/000001"
        assert shown["measured"]["ndcg@10"] == 0.1
        made = json.loads(invoke(home, "decisions", "--json", *place))
        assert [one["action"] for one in made] == ["promote", "promote", "rollback"]


def test_a_home_without_a_registry_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="registry: no registry there; run the pipeline first"):
        invoke(tmp_path, "list")
