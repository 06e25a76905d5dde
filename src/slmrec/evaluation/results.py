"""The two artifacts of a comparison: how good the models are, and what hangs on a clock.

They are two because the first is the same, byte for byte, for the same inputs, configuration and
seed, and timings, with the choice that they decide, never are.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import polars as pl

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.columns import Ranks
from slmrec.config import EvaluateModels
from slmrec.evaluation.outcome import Evaluation
from slmrec.evaluation.plots.cost import cost_svg
from slmrec.evaluation.plots.quality import quality_svg
from slmrec.evaluation.plots.segments import segments_svg
from slmrec.evaluation.plots.training import blocks_svg, curves_svg
from slmrec.evaluation.report import render, render_card
from slmrec.evaluation.selection import Choice
from slmrec.evaluation.speed import Timings
from slmrec.evaluation.trainings import Trainings
from slmrec.models.machine import Machine

EVALUATION = "evaluation"
TIMINGS = "timings"
CHOICE, PAGE, CARD = "choice.json", "report.html", "card.md"


def save_evaluation(
    directory: Path,
    evaluation: Evaluation,
    config: EvaluateModels,
    inputs: Mapping[str, Artifact] | None = None,
) -> Artifact:
    """Publish `metrics.json`, `ranks.parquet` and the sampled negatives, `negatives.parquet`."""
    properties = {key: evaluation.results[key] for key in ("users", "headline")}
    with publish(
        directory, EVALUATION, config=config.to_json(), inputs=inputs, properties=properties
    ) as staging:
        write_json(staging / "metrics.json", evaluation.results)
        evaluation.ranks.write_parquet(staging / "ranks.parquet", compression="zstd")
        negatives = {
            Ranks.USER_INDEX: evaluation.probe.users,
            Ranks.NEGATIVES: evaluation.probe.negatives,
        }
        pl.DataFrame(negatives).write_parquet(staging / "negatives.parquet", compression="zstd")
    return open_artifact(directory, EVALUATION)


def save_timings(
    directory: Path,
    evaluation: Evaluation,
    timings: Timings,
    choice: Choice,
    machine: Machine,
    trainings: Trainings,
    config: EvaluateModels,
    inputs: Mapping[str, Artifact] | None = None,
) -> Artifact:
    """Publish `timings.json`, `choice.json`, `report.html` with its figures and the model card."""
    figures = {
        "quality.svg": quality_svg(evaluation, choice.name),
        "cost.svg": cost_svg(evaluation, timings, choice.name),
        "segments.svg": segments_svg(evaluation, choice.name),
    }
    if trainings.curves:
        figures["curves.svg"] = curves_svg(trainings.curves)
    if trainings.nearness is not None and trainings.nearness.blocks:
        figures["distillation.svg"] = blocks_svg(trainings.nearness.blocks)
    with publish(
        directory,
        TIMINGS,
        config=config.to_json(),
        inputs=inputs,
        properties={"candidate": choice.name},
    ) as staging:
        write_json(staging / "timings.json", timings)
        write_json(staging / CHOICE, {**asdict(choice), "machine": machine})
        for name, figure in figures.items():
            (staging / name).write_text(figure, encoding="utf-8")
        page = render(evaluation, timings, choice, machine, trainings, figures, config)
        (staging / PAGE).write_text(page, encoding="utf-8")
        card = render_card(evaluation, timings, choice, machine, config)
        (staging / CARD).write_text(card, encoding="utf-8")
    return open_artifact(directory, TIMINGS)
