"""The two artifacts of an evaluation: what was found, and how long things took.

They are two because the first is the same, byte for byte, for the same inputs, configuration and
seed, and timings never are.
"""

from collections.abc import Mapping
from pathlib import Path

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.config import EvaluateModels
from slmrec.evaluation.evaluate import Evaluation
from slmrec.evaluation.plots import cost_svg, quality_svg
from slmrec.evaluation.report import render
from slmrec.evaluation.speed import Timings

EVALUATION = "evaluation"
TIMINGS = "timings"


def save_evaluation(
    directory: Path,
    evaluation: Evaluation,
    config: EvaluateModels,
    inputs: Mapping[str, Artifact] | None = None,
) -> Artifact:
    """Publish `metrics.json`, `ranks.parquet`, `report.html` and `quality.svg`."""
    results = evaluation.results
    properties = {key: results[key] for key in ("users", "headline", "candidate")}
    figure = quality_svg(evaluation)
    with publish(
        directory, EVALUATION, config=config.to_json(), inputs=inputs, properties=properties
    ) as staging:
        write_json(staging / "metrics.json", results)
        evaluation.ranks.write_parquet(staging / "ranks.parquet", compression="zstd")
        (staging / "quality.svg").write_text(figure, encoding="utf-8")
        page = render(evaluation, figure, config)
        (staging / "report.html").write_text(page, encoding="utf-8")
    return open_artifact(directory, EVALUATION)


def save_timings(
    directory: Path,
    evaluation: Evaluation,
    timings: Timings,
    config: EvaluateModels,
    inputs: Mapping[str, Artifact] | None = None,
) -> Artifact:
    """Publish `timings.json` and `cost.svg`."""
    with publish(directory, TIMINGS, config=config.to_json(), inputs=inputs) as staging:
        write_json(staging / "timings.json", timings)
        (staging / "cost.svg").write_text(cost_svg(evaluation, timings), encoding="utf-8")
    return open_artifact(directory, TIMINGS)
