"""The whole DAG on MovieTweetings, with trainings cut short."""

from pathlib import Path

import pytest


@pytest.mark.slow
def test_movietweetings_gives_models_far_above_popularity(
    command, real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "movietweetings"
    short = [
        "pretrain_items.width=64",
        "pretrain_items.training.epochs=4",
        "pretrain_items.training.learning_rate=4e-3",
        "train_teacher.width=64",
        "train_teacher.feed_forward=128",
        "train_teacher.training.epochs=4",
        "train_teacher.training.learning_rate=2e-3",
        "distill_student.width=64",
        "distill_student.heads=2",
        "distill_student.feed_forward=128",
        "distill_student.training.epochs=4",
        "evaluate_models.resamples=1000",
        "evaluate_models.latency_requests=30",
    ]
    finished = command(
        "run",
        "--format", "movielens",
        "--interactions", str(folder / "ratings_2013-11-06.dat.gz"),
        "--items", str(folder / "movies.dat.gz"),
        "--home", str(tmp_path),
        "--json",
        *(part for setting in short for part in ("--set", setting)),
        timeout=600,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    summary = finished.summary
    data = summary["data"]
    assert (data["users"], data["items"], data["interactions"]) == (5973, 3119, 102461)
    models = {model["name"]: model for model in summary["models"]}
    worst = models["popularity"]["metrics"]["ndcg@10"]["ci95"][1]
    for name in ("teacher", "student", "float32", "int8", "pruned-int8"):
        assert models[name]["metrics"]["ndcg@10"]["ci95"][0] > worst, name
    assert (
        models["student"]["parameters_backbone"] <= 0.13 * models["teacher"]["parameters_backbone"]
    )
    assert max(step["peak_rss_mb"] for step in summary["steps"]) < 4096
