import json
from datetime import UTC, datetime
from pathlib import Path

from pipeline.record import RunRecord, StepRecord
from pipeline.summary import summarise
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.registry.store import Registry
from slmrec.registry.versions import DataFacts


def write(folder: Path, name: str, content: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


def record(tmp_path: Path, steps: list[StepRecord]) -> RunRecord:
    started = datetime(2026, 1, 2, tzinfo=UTC)
    return RunRecord("r1", started, tmp_path, "abc", {"registry": "reg"}, steps, 12.3456)


def model(name: str) -> dict:
    return {"name": name, "metrics": {"ndcg@10": {"value": 0.1, "ci95": [0.05, 0.15]}}}


def test_models_join_quality_speed_and_training_time(tmp_path: Path) -> None:
    evaluation = write(tmp_path / "e", "metrics.json", {"users": 7, "models": [model("teacher")]})
    timings = write(
        tmp_path / "t",
        "timings.json",
        {
            "teacher": {
                "batch1_p50": 1.5,
                "batch1_p95": 2.5,
                "batch_p50": 70.0,
                "batch_p95": 80.0,
                "users_per_second": 900,
                "load_ms": 40.0,
                "peak_mb": 300.0,
            }
        },
    )
    summary = summarise(
        record(
            tmp_path,
            [
                StepRecord("train_teacher", True, {"train_seconds": 33.0, "seconds": 34.0}, {}),
                StepRecord(
                    "evaluate_models", False, {}, {"evaluation": evaluation, "timings": timings}
                ),
            ],
        ),
        Registry(tmp_path / "registry"),
    )
    (found,) = summary["models"]
    assert found["train_seconds"] == 33.0
    assert found["latency_ms"] == {
        "batch1_p50": 1.5,
        "batch1_p95": 2.5,
        "batch_p50": 70.0,
        "batch_p95": 80.0,
    }
    assert found["users_per_second"] == 900
    assert (found["load_ms"], found["peak_mb"]) == (40.0, 300.0)
    assert summary["retrained"] is True
    assert summary["users_evaluated"] == 7
    assert summary["steps"][0]["cached"] is True


def test_models_are_the_production_ones_when_nothing_was_trained(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    contents = {
        "model": {},
        "evaluation": {"metrics.json": {"users": 3, "models": [model("student")]}},
        "timings": {"timings.json": {"student": {"users_per_second": 9.0}}},
    }
    for kind, files in contents.items():
        with publish(tmp_path / kind, kind, properties={"name": "student"}) as staging:
            for name, content in files.items():
                write_json(staging / name, content)
    registry.add(
        *(open_artifact(tmp_path / kind) for kind in contents),
        DataFacts("sequences", 1000, 99),
        code_digest="code",
        settings_digest="settings",
        time="t",
    )
    registry.promote(1, None, reason="r", actor="a", time="t")
    summary = summarise(record(tmp_path, []), registry)
    assert summary["models"][0]["users_per_second"] == 9.0
    assert [m["name"] for m in summary["models"]] == ["student"]
    assert summary["retrained"] is False
    assert summary["gates"] == []
    assert summary["promoted"] is None
    for said, names in (("1 0a0a", ["student"]), ("", []), ("7 0a0a", [])):
        began = StepRecord("snapshot_source", False, {"production": said}, {})
        found = summarise(record(tmp_path, [began]), registry)["models"]
        assert [m["name"] for m in found] == names


def test_verdicts_and_places_come_from_the_steps(tmp_path: Path) -> None:
    report = write(
        tmp_path / "d",
        "drift.json",
        {"verdict": "watch", "alarms": [{"sentence": "x"}], "production": 4},
    )
    promotion = write(tmp_path / "p", "promotion.json", {"gates": [{"name": "g"}], "promoted": 4})
    decision = write(tmp_path / "c", "decision.json", {"retrain": True, "reason": "new"})
    summary = summarise(
        record(
            tmp_path,
            [
                StepRecord("monitor_drift", False, {}, {"report": report}),
                StepRecord("decide_retraining", False, {"retrain": 1}, {"decision": decision}),
                StepRecord("promote_model", False, {}, {"promotion": promotion}),
            ],
        ),
        Registry(tmp_path / "registry"),
    )
    assert summary["drift"] == {
        "verdict": "watch",
        "alarms": [{"sentence": "x"}],
        "production": 4,
    }
    assert summary["decision"] == {"retrain": True, "reason": "new"}
    assert summary["decision"]["retrain"] is True
    assert summary["promoted"] == 4
    assert summary["places"]["monitor_drift.report"] == str(report)


def test_student_is_compared_with_its_teacher_where_both_were_measured(tmp_path: Path) -> None:
    models = [model("teacher"), model("student")]
    evaluation = write(tmp_path / "e", "metrics.json", {"users": 7, "models": models})
    timing = {
        "teacher": {
            "batch1_p50": 6.0,
            "users_per_second": 100,
            "layers_batch1_p50": 4.5,
            "layers_users_per_second": 200,
        },
        "student": {
            "batch1_p50": 2.0,
            "users_per_second": 400,
            "layers_batch1_p50": 0.5,
            "layers_users_per_second": 2000,
        },
    }
    timings = write(tmp_path / "t", "timings.json", timing)
    steps = [
        StepRecord("train_teacher", False, {"epoch_seconds": 70.0}, {}),
        StepRecord("evaluate_models", False, {}, {"evaluation": evaluation, "timings": timings}),
    ]
    found = summarise(record(tmp_path, steps), Registry(tmp_path / "registry"))[
        "student_over_teacher"
    ]
    assert found == {
        "epoch": None,  # the student was not trained in this run
        "layers_batch1": 9.0,
        "layers_batch": 10.0,
        "request_batch1": 3.0,
        "request_batch": 4.0,
    }
    steps.append(StepRecord("distill_student", False, {"epoch_seconds": 10.0}, {}))
    assert (
        summarise(record(tmp_path, steps), Registry(tmp_path / "registry"))["student_over_teacher"][
            "epoch"
        ]
        == 7.0
    )
