import pytest

from components.build_sequences.step import run
from components.ingest_interactions.step import run as ingest
from slmrec.artifacts import open_artifact, publish
from slmrec.config import BuildSequences, IngestInteractions
from slmrec.data.sequences import load_sequences
from slmrec.data.source import snapshot

SAMPLE = "sample:users=80,items=60,interactions=1500,seed=2"
CONFIG = BuildSequences().to_json()


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    ingest(SAMPLE, "", snapshot(SAMPLE, ""), IngestInteractions().to_json(), str(path))
    return open_artifact(path)


def verdict_on(log, path, success=True):
    properties = {"success": success}
    with publish(path, "validation", inputs={"interactions": log}, properties=properties):
        pass
    return str(path)


def test_sequences_are_published_when_the_verdict_is_good(log, tmp_path):
    verdict = verdict_on(log, tmp_path / "verdict")
    metadata = run(str(log.path), verdict, CONFIG, str(tmp_path / "one"))
    sequences = load_sequences(tmp_path / "one")
    assert metadata["headline"] == (
        f"{sequences.users:,} users · {sequences.item_count:,} items · "
        f"{sequences.interactions:,} interactions"
    )
    assert sequences.artifact.file("history.svg").exists()
    assert sequences.artifact.json("card.json")["interactions"] == sequences.interactions
    again = run(str(log.path), verdict, CONFIG, str(tmp_path / "two"))
    assert again["digest"] == metadata["digest"]


def test_the_step_stops_when_the_verdict_is_bad(log, tmp_path, capsys):
    verdict = verdict_on(log, tmp_path / "verdict", success=False)
    with pytest.raises(SystemExit) as caught:
        run(str(log.path), verdict, CONFIG, str(tmp_path / "sequences"))
    assert caught.value.code == 3
    assert "failed its validation" in capsys.readouterr().err


def test_the_step_stops_when_the_verdict_is_about_another_log(log, tmp_path, capsys):
    with publish(tmp_path / "other", "interactions", properties={"rows": 0}):
        pass
    verdict = verdict_on(open_artifact(tmp_path / "other"), tmp_path / "verdict")
    with pytest.raises(SystemExit) as caught:
        run(str(log.path), verdict, CONFIG, str(tmp_path / "sequences"))
    assert caught.value.code == 4
    assert "about another log" in capsys.readouterr().err


@pytest.fixture
def order_only(tmp_path):
    """A log of histories without times, and a good verdict on it."""
    source = tmp_path / "histories.txt"
    lines = (
        " ".join([f"u{user}", *(f"i{(user + k) % 9}" for k in range(6))]) for user in range(30)
    )
    source.write_text("\n".join(lines))
    settings = IngestInteractions(format="sequences-txt")
    ingest(str(source), "", snapshot(str(source), ""), settings.to_json(), str(tmp_path / "order"))
    log = open_artifact(tmp_path / "order")
    return str(log.path), verdict_on(log, tmp_path / "verdict on order")


def test_a_split_by_time_is_refused_when_the_log_has_only_an_order(order_only, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*order_only, CONFIG, str(tmp_path / "sequences"))
    assert caught.value.code == 2
    assert "set build_sequences.split to leave_one_out" in capsys.readouterr().err


def test_the_last_items_are_held_out_when_the_log_has_only_an_order(order_only, tmp_path):
    settings = BuildSequences(split="leave_one_out").to_json()
    metadata = run(*order_only, settings, str(tmp_path / "sequences"))
    sequences = load_sequences(tmp_path / "sequences")
    assert metadata["test_targets"] == sequences.users == 30
    first_history = sequences.item_table["item_id"].gather(sequences.items[:6] - 1).to_list()
    assert first_history == ["i0", "i1", "i2", "i3", "i4", "i5"]
    assert sequences.artifact.json("card.json")["order_only"] is True
    assert sequences.order_only is True
