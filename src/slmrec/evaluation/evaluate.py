"""Every model on the same users: ranks, metrics with intervals, paired comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypedDict, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.columns import Ranks
from slmrec.config import EvaluateModels
from slmrec.data.sequences import PADDING, Sequences
from slmrec.errors import ConfigError, DataError
from slmrec.evaluation.bootstrap import Bootstrap, Interval, holm
from slmrec.evaluation.lists import ListFigures, Touched, list_figures
from slmrec.evaluation.metrics import HEADLINE, HEADLINE_CUTOFF, metric_names, ndcg, per_user
from slmrec.evaluation.ranking import Ranking, rank_users
from slmrec.evaluation.sampled import (
    Probe,
    SampledValue,
    draw_probe,
    sampled_metrics,
    sampled_ranks,
)
from slmrec.evaluation.segments import Segment, segment_users
from slmrec.evaluation.shortcuts import Shortcuts, diagnose, repeat_share
from slmrec.models.scorer import Scorer
from slmrec.progress import Progress, Silent

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
_DIGITS = 6  # further ones depend on the order in which a processor sums


@dataclass(frozen=True)
class Contender:
    """A model under the name and in the role in which it is judged."""

    name: str
    kind: str
    scorer: Scorer


class MetricValue(TypedDict):
    """A metric and its 95 % interval."""

    value: float
    ci95: list[float]


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
    models: dict[str, dict[str, SampledValue]]


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


def evaluate(
    contenders: Sequence[Contender],
    sequences: Sequences,
    config: EvaluateModels,
    progress: Progress | None = None,
    *,
    production: str = "",
) -> Evaluation:
    """Rank the full catalogue for every test user under every model and compare the models.

    A target that no model has seen in training counts like any other; the share of such users is
    reported. One `student` is expected, which its variants are measured against. `production` is the
    number of the version that takes part under that name.

    Raises `ConfigError` without one or when two models share a name, `DataError` when no user
    can be evaluated or a model's scores cannot be ranked.
    """
    progress = progress or Silent()
    _check(contenders)
    users, positions = sequences.targets("test")
    if not len(users):
        raise DataError(
            "sequences: no user has a test interaction after an earlier one, so nothing can be "
            "evaluated; give more data, or a larger 'test_share' in build_sequences"
        )
    rankings = _rank_all(contenders, sequences, users, positions, config, progress)

    names = metric_names(config.cutoffs)
    columns = {
        pair: column for column, pair in enumerate(product((c.name for c in contenders), names))
    }
    values = np.stack(
        [
            column
            for contender in contenders
            for column in per_user(rankings[contender.name].ranks, config.cutoffs).values()
        ],
        axis=1,
    )  # [users, models · metrics]
    bootstrap = Bootstrap.draw(values, config.resamples, config.seed)
    headlines = [columns[contender.name, HEADLINE] for contender in contenders]
    student = next(contender.name for contender in contenders if contender.kind == STUDENT)
    touched = Touched(sequences)
    probe = draw_probe(
        sequences, users, positions, config.probe_users, config.sampled_negatives, config.seed
    )
    done = len(contenders) * len(users)
    progress.update(done, done, "sampled negatives and shortened histories")
    targets = np.asarray(sequences.items[positions], dtype=np.int32)
    cold = _cold_items(sequences)[targets]
    results = Results(
        users=len(users),
        items=sequences.item_count,
        production=production,
        enough_users=bootstrap.enough,
        headline=HEADLINE,
        target_cold_share=round(float(cold.mean()), _DIGITS),
        filter_seen=config.filter_seen,
        models=[
            _model_result(
                contender,
                {name: bootstrap.interval(columns[contender.name, name]) for name in names},
                rankings[contender.name],
                rankings[student],
                _rounded(list_figures(rankings[contender.name].lists, touched)),
            )
            for contender in contenders
        ],
        comparisons=_corrected(
            [_comparison(a, b, bootstrap, columns) for a, b in _pairs(contenders)]
        ),
        segments=_segments(
            segment_users(sequences, users, positions), contenders, values[:, headlines], config
        ),
        sampled=_sampled(contenders, sequences, probe, config),
        shortcuts=_shortcuts(
            contenders,
            sequences,
            users,
            positions,
            probe,
            {one.name: float(bootstrap.means[columns[one.name, HEADLINE]]) for one in contenders},
            config,
        ),
    )
    ranks = pl.DataFrame(
        {
            Ranks.USER_INDEX: users,
            Ranks.TARGET: targets,
            Ranks.TARGET_COLD: cold,
            **{name: ranking.ranks for name, ranking in rankings.items()},
        }
    )
    return Evaluation(results, ranks, probe)


def _check(contenders: Sequence[Contender]) -> None:
    names = [contender.name for contender in contenders]
    taken = [Ranks.USER_INDEX, Ranks.TARGET, Ranks.TARGET_COLD, *names]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise ConfigError(
            f"evaluate_models: the name '{twice[0]}' is taken; expected names of models that "
            f"differ from each other and from {', '.join(taken[:3])}; rename it under 'variants'"
        )
    students = sum(contender.kind == STUDENT for contender in contenders)
    if students != 1:
        raise ConfigError(
            f"evaluate_models: {students} models of kind '{STUDENT}', expected exactly one, the "
            "model that its compressed variants are measured against"
        )


def _rank_all(
    contenders: Sequence[Contender],
    sequences: Sequences,
    users: NDArray[np.int64],
    positions: NDArray[np.int64],
    config: EvaluateModels,
    progress: Progress,
) -> dict[str, Ranking]:
    rankings: dict[str, Ranking] = {}
    for number, contender in enumerate(contenders):

        def report(
            ranks: NDArray[np.int32], number: int = number, name: str = contender.name
        ) -> None:
            mean = short(float(ndcg(ranks, HEADLINE_CUTOFF).mean()))
            done = number * len(users) + len(ranks)
            progress.update(done, len(contenders) * len(users), f"{name} · {HEADLINE} {mean}")

        rankings[contender.name] = rank_users(
            contender.scorer,
            sequences,
            users,
            positions,
            exclude_seen=config.filter_seen,
            name=contender.name,
            report=report,
        )
    return rankings


def _cold_items(sequences: Sequences) -> NDArray[np.bool_]:
    cold = np.ones(sequences.item_count + 1, dtype=np.bool_)
    cold[sequences.train_items()] = False
    cold[PADDING] = False
    return cold


def _model_result(
    contender: Contender,
    metrics: Mapping[str, Interval],
    ranking: Ranking,
    student: Ranking,
    lists: ListFigures,
) -> ModelResult:
    scorer = contender.scorer
    return {
        "name": contender.name,
        "kind": contender.kind,
        "parameters_total": int(scorer.parameters_total),
        "parameters_backbone": int(scorer.parameters_backbone),
        "bytes": int(scorer.bytes),
        "weights": getattr(scorer, "weights", FLOAT32),
        "metrics": {name: _metric_value(interval) for name, interval in metrics.items()},
        "overlap@10": round(ranking.overlap(student), _DIGITS),
        "lists": lists,
    }


def _pairs(contenders: Sequence[Contender]) -> list[tuple[str, str]]:
    of_kind = {
        kind: [contender.name for contender in contenders if contender.kind == kind]
        for kind in (BASELINE, *LEARNED)
    }
    learned = [contender.name for contender in contenders if contender.kind in LEARNED]
    pairs = [
        *product(learned, of_kind[BASELINE]),
        *product([name for name in learned if name not in of_kind[SASREC]], of_kind[SASREC]),
        *product((*of_kind[STUDENT], *of_kind[SERVABLE]), of_kind[TEACHER]),
        *product(of_kind[SERVABLE], (*of_kind[STUDENT], *of_kind[PRODUCTION])),
    ]
    return list(dict.fromkeys(pairs))


def _comparison(
    a: str, b: str, bootstrap: Bootstrap, columns: Mapping[tuple[str, str], int]
) -> Comparison:
    found = bootstrap.difference(columns[a, HEADLINE], columns[b, HEADLINE])
    return {
        "a": a,
        "b": b,
        "metric": HEADLINE,
        "difference": round(found.value, _DIGITS),
        "ci95": [round(found.low, _DIGITS), round(found.high, _DIGITS)],
        "p": round(found.p, _DIGITS),
        "p_holm": round(found.p, _DIGITS),
    }


def _corrected(comparisons: list[Comparison]) -> list[Comparison]:
    corrected = holm([comparison["p"] for comparison in comparisons])
    for comparison, value in zip(comparisons, corrected, strict=True):
        comparison["p_holm"] = round(value, _DIGITS)
    return comparisons


def _segments(
    segments: Sequence[Segment],
    contenders: Sequence[Contender],
    headlines: NDArray[np.float64],
    config: EvaluateModels,
) -> list[SegmentResult]:
    found = [_segment_result(segment, contenders, headlines, config) for segment in segments]
    for pair in _segment_pairs(contenders):
        judged = [
            comparison
            for segment in found
            for comparison in segment["comparisons"]
            if segment["enough_users"] and (comparison["a"], comparison["b"]) == pair
        ]
        _corrected(judged)
    return found


def _sampled(
    contenders: Sequence[Contender], sequences: Sequences, probe: Probe, config: EvaluateModels
) -> SampledResult:
    return {
        "users": len(probe.users),
        "negatives": int((probe.negatives > 0).sum(axis=1).max()),
        "models": {
            one.name: sampled_metrics(
                sampled_ranks(one.scorer, sequences, probe, one.name), config.resamples, config.seed
            )
            for one in contenders
        },
    }


def _shortcuts(
    contenders: Sequence[Contender],
    sequences: Sequences,
    users: NDArray[np.int64],
    positions: NDArray[np.int64],
    probe: Probe,
    quality: Mapping[str, float],
    config: EvaluateModels,
) -> Shortcuts:
    student = next(one for one in contenders if one.kind == STUDENT)
    return diagnose(
        student.scorer,
        sequences,
        probe,
        {one.name: quality[one.name] for one in contenders if one.kind == BASELINE},
        quality[student.name],
        repeat_share(sequences, users, positions),
        exclude_seen=config.filter_seen,
        resamples=config.resamples,
        seed=config.seed,
    )


def _segment_pairs(contenders: Sequence[Contender]) -> list[tuple[str, str]]:
    """The student and its variants, against what they should be worth and against the student."""
    mine = [one.name for one in contenders if one.kind in (STUDENT, SERVABLE)]
    others = [one.name for one in contenders if one.kind in (SASREC, STUDENT, PRODUCTION)]
    others += [one.name for one in contenders if one.name == TRANSITIONS]
    return [(a, b) for a, b in product(mine, others) if a != b]


def _segment_result(
    segment: Segment,
    contenders: Sequence[Contender],
    headlines: NDArray[np.float64],
    config: EvaluateModels,
) -> SegmentResult:
    """`headlines` float64 [users, models] are all users' NDCG@10."""
    bootstrap = Bootstrap.draw(headlines[segment.members], config.resamples, config.seed)
    columns = {(contender.name, HEADLINE): place for place, contender in enumerate(contenders)}
    return {
        "kind": segment.kind,
        "name": segment.name,
        "users": bootstrap.users,
        "enough_users": bootstrap.enough,
        "models": {
            contender.name: _metric_value(bootstrap.interval(place))
            for place, contender in enumerate(contenders)
        },
        "comparisons": [
            {**_comparison(a, b, bootstrap, columns), "p_holm": 1.0}
            for a, b in _segment_pairs(contenders)
        ],
    }


def _metric_value(interval: Interval) -> MetricValue:
    return {
        "value": round(interval.value, _DIGITS),
        "ci95": [round(interval.low, _DIGITS), round(interval.high, _DIGITS)],
    }


def _rounded(figures: ListFigures) -> ListFigures:
    values = {name: round(float(figures[name]), _DIGITS) for name in figures}  # type: ignore[literal-required]
    return cast(ListFigures, values)


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
