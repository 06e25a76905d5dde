"""What an evaluation found: the content of `metrics.json`, and how it is told in a line."""

from dataclasses import dataclass
from typing import TypedDict

import polars as pl

from slmrec.evaluation.bootstrap import MetricValue
from slmrec.evaluation.lists import ListFigures
from slmrec.evaluation.metrics import HEADLINE
from slmrec.evaluation.sampled import Probe
from slmrec.evaluation.shortcuts import Shortcuts

BASELINE, SASREC, TEACHER, STUDENT, SERVABLE, PRODUCTION = (
    "baseline",
    "sasrec",
    "teacher",
    "student",
    "servable",
    "production",
)
"""What a contender is; `production` is the servable that serves now, whatever log it was made from."""
LEARNED = (SASREC, TEACHER, STUDENT, SERVABLE, PRODUCTION)
TRANSITIONS = "transitions"
FLOAT32 = "float32"


ModelResult = TypedDict(
    "ModelResult",
    {
        "name": str,
        "kind": str,
        "parameters_total": int,
        "parameters_backbone": int,
        "bytes": int,
        "weights": str,
        "metrics": dict[str, MetricValue],
        "overlap@10": float,
        "lists": ListFigures,
    },
)


class Comparison(TypedDict):
    """Model `a` less model `b`, on the same users."""

    a: str
    b: str
    metric: str
    difference: float
    ci95: list[float]
    p: float
    p_holm: float
    """Corrected for all comparisons of its list. Of segments those of the same two models are a list;
    where there are too few users it is 1."""


class SampledResult(TypedDict):
    """Metrics among sampled negatives, for comparison with published figures."""

    users: int
    negatives: int
    """Of a user; small catalogues have fewer than were asked for."""
    models: dict[str, dict[str, MetricValue]]


class SegmentResult(TypedDict):
    """One group of users: NDCG@10 of each model, and its differences."""

    kind: str
    name: str
    users: int
    enough_users: bool
    models: dict[str, MetricValue]
    comparisons: list[Comparison]


class Results(TypedDict):
    """The content of `metrics.json`."""

    users: int
    items: int
    enough_users: bool
    production: str
    """The number of the version that is the model `production`; empty without one."""
    headline: str
    target_cold_share: float
    filter_seen: bool
    models: list[ModelResult]
    comparisons: list[Comparison]
    segments: list[SegmentResult]
    sampled: SampledResult
    shortcuts: Shortcuts


@dataclass(frozen=True)
class Evaluation:
    """What was found, and from which ranks.

    `ranks` has a row for each evaluated user: the columns `Ranks` and an int32 column a model. `probe`
    holds the sampled negatives.
    """

    results: Results
    ranks: pl.DataFrame
    probe: Probe

    def model(self, name: str) -> ModelResult:
        """Find the results of one model."""
        return next(model for model in self.results["models"] if model["name"] == name)


def short(value: float, digits: int = 4) -> str:
    """Write a share as tables print it: `.0712`, `1.0000`."""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def headline(evaluation: Evaluation) -> str:
    """Sum up: `student NDCG@10 .0712 [.068, .075], popularity .0191 over 2,103 users`."""
    models = evaluation.results["models"]
    student = next(model for model in models if model["kind"] == STUDENT)
    figure = student["metrics"][HEADLINE]
    low, high = (short(bound, 3) for bound in figure["ci95"])
    baselines = "".join(
        f", {model['name']} {short(model['metrics'][HEADLINE]['value'])}"
        for model in models
        if model["name"] == "popularity"
    )
    return (
        f"{student['name']} NDCG@10 {short(figure['value'])} [{low}, {high}]{baselines} "
        f"over {evaluation.results['users']:,} users"
    )
