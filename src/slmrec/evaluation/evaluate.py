"""Every model on the same users: ranks, metrics with intervals, paired comparisons."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.columns import Ranks
from slmrec.config import EvaluateModels
from slmrec.data.sequences import PADDING, Sequences
from slmrec.errors import ConfigError, DataError
from slmrec.evaluation.bootstrap import DIGITS, Bootstrap, Interval
from slmrec.evaluation.comparisons import Contender, compare, compare_segments
from slmrec.evaluation.lists import ListFigures, Touched, list_figures
from slmrec.evaluation.metrics import HEADLINE, HEADLINE_CUTOFF, metric_names, ndcg, per_user
from slmrec.evaluation.outcome import (
    BASELINE,
    FLOAT32,
    STUDENT,
    Evaluation,
    ModelResult,
    Results,
    SampledResult,
    short,
)
from slmrec.evaluation.ranking import Ranking, rank_users
from slmrec.evaluation.sampled import Probe, draw_probe, sampled_metrics, sampled_ranks
from slmrec.evaluation.segments import segment_users
from slmrec.evaluation.shortcuts import Shortcuts, diagnose, repeat_share
from slmrec.progress import Progress, Silent


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
    values = np.empty((len(users), len(columns)))  # [users, models · metrics]
    for name, ranking in rankings.items():
        for metric, column in per_user(ranking.ranks, config.cutoffs).items():
            values[:, columns[name, metric]] = column
    done = len(contenders) * len(users)
    progress.update(done, done, "intervals")
    bootstrap = Bootstrap.draw(values, config.resamples, config.seed)
    headlines = [columns[contender.name, HEADLINE] for contender in contenders]
    student = next(contender.name for contender in contenders if contender.kind == STUDENT)
    progress.update(done, done, "lists")
    touched = Touched(sequences)
    models = [
        _model_result(
            contender,
            {name: bootstrap.interval(columns[contender.name, name]) for name in names},
            rankings[contender.name],
            rankings[student],
            _rounded(list_figures(rankings[contender.name].lists, touched)),
        )
        for contender in contenders
    ]
    comparisons = compare(contenders, bootstrap, columns)
    progress.update(done, done, "groups of users")
    segments = compare_segments(
        segment_users(sequences, users, positions), contenders, values[:, headlines], config
    )
    progress.update(done, done, "sampled negatives")
    probe = draw_probe(
        sequences, users, positions, config.probe_users, config.sampled_negatives, config.seed
    )
    sampled = _sampled(contenders, sequences, probe, config)
    progress.update(done, done, "shortened histories")
    quality = {one.name: float(bootstrap.means[columns[one.name, HEADLINE]]) for one in contenders}
    shortcuts = _shortcuts(contenders, sequences, users, positions, probe, quality, config)
    targets = np.asarray(sequences.items[positions], dtype=np.int32)
    cold = _cold_items(sequences)[targets]
    results = Results(
        users=len(users),
        items=sequences.item_count,
        production=production,
        enough_users=bootstrap.enough,
        headline=HEADLINE,
        target_cold_share=round(float(cold.mean()), DIGITS),
        filter_seen=config.filter_seen,
        models=models,
        comparisons=comparisons,
        segments=segments,
        sampled=sampled,
        shortcuts=shortcuts,
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
    total = len(contenders) * len(users)
    for number, contender in enumerate(contenders):
        report = _Told(progress, contender.name, number * len(users), total)
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


class _Told:
    """Tells how far the ranking is and how good the model has been so far."""

    def __init__(self, progress: Progress, name: str, before: int, total: int) -> None:
        self._progress, self._name = progress, name
        self._before, self._total = before, total
        self._gain, self._ranked = 0.0, 0

    def __call__(self, ranks: NDArray[np.int32]) -> None:
        """`ranks` are all so far."""
        self._gain += float(ndcg(ranks[self._ranked :], HEADLINE_CUTOFF).sum())
        self._ranked = len(ranks)
        mean = short(self._gain / self._ranked)
        note = f"{self._name} · {HEADLINE} {mean}"
        self._progress.update(self._before + self._ranked, self._total, note)


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
        "metrics": {name: interval.as_json() for name, interval in metrics.items()},
        "overlap@10": round(ranking.overlap(student), DIGITS),
        "lists": lists,
    }


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


def _rounded(figures: ListFigures) -> ListFigures:
    values = {name: round(float(figures[name]), DIGITS) for name in figures}  # type: ignore[literal-required]
    return cast(ListFigures, values)
