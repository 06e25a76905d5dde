"""How good each model is for the test users, over seeds, and how sure the differences are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from slmrec.artifacts import Artifact, canonical_json, publish
from slmrec.config import EvaluateModels
from slmrec.data.sequences import Int32, Sequences
from slmrec.errors import DataError
from slmrec.evaluation.bootstrap import Bootstrap
from slmrec.evaluation.metrics import Floats, hit_rate, ndcg
from slmrec.evaluation.ranking import rank_users
from slmrec.models.checkpoint import WEIGHTS, load_decoder
from slmrec.models.loading import TorchScorer
from slmrec.progress import Progress
from slmrec.studies.kept import Kept

NDCG, HR = "ndcg@10", "hr@10"
DIGITS = 6
"""Further ones depend on the order in which a processor sums."""


class Figure(TypedDict):
    """A mean over test users with its 95 % interval."""

    value: float
    ci95: list[float]


class Difference(TypedDict):
    """NDCG@10 less that of another model, on the same users."""

    difference: float
    ci95: list[float]
    p: float


class Row(TypedDict):
    """One model of a study."""

    name: str
    metrics: Mapping[str, Figure]
    by_seed: list[float]
    """NDCG@10 of each seed's model."""
    versus: Mapping[str, Difference]
    parameters_backbone: int


@dataclass(frozen=True)
class Measured:
    """A model for each seed, and where each ranks every test user's target."""

    name: str
    ranks: Sequence[Int32]
    parameters_backbone: int


class Evaluator:
    """Ranks the whole catalogue for every test user."""

    def __init__(self, sequences: Sequences, config: EvaluateModels, kept: Kept) -> None:
        """Raises `DataError` when there is no test user."""
        self._sequences = sequences
        self._config = config
        self._kept = kept
        self.users, self.positions = sequences.targets("test")
        if not len(self.users):
            raise DataError(
                "sequences: no user has a test interaction after an earlier one, so nothing can be "
                "measured; give more data, or a larger build_sequences.test_share"
            )

    def measure(
        self, name: str, models: Sequence[Artifact], first_layers: int | None = None
    ) -> Measured:
        """Rank with each seed's model; with `first_layers`, cut to those and its final norm."""
        ranks = [
            self._ranks(model, f"{name}, ranks of seed {number + 1}", first_layers)
            for number, model in enumerate(models)
        ]
        decoder = load_decoder(models[0])
        if first_layers is not None:
            decoder = decoder.with_layers(range(first_layers), 0.0, 0.0)
        return Measured(name, ranks, decoder.parameters_backbone())

    def _ranks(self, model: Artifact, label: str, first_layers: int | None) -> Int32:
        settings = {"filter_seen": self._config.filter_seen, "first_layers": first_layers}
        config, inputs = canonical_json(settings), {"model": model}

        def make(place: Path, progress: Progress) -> str:
            decoder = load_decoder(model)
            if first_layers is not None:
                decoder = decoder.with_layers(range(first_layers), 0.0, 0.0)

            def report(ranks: Int32) -> None:
                note = f"NDCG@10 {ndcg(ranks, 10).mean():.4f}"
                progress.update(len(ranks), len(self.users), note)

            ranking = rank_users(
                TorchScorer(decoder, label, model.file(WEIGHTS).stat().st_size),
                self._sequences,
                self.users,
                self.positions,
                exclude_seen=self._config.filter_seen,
                report=report,
            )
            with publish(place, "ranks", config=config, inputs=inputs) as staging:
                np.save(staging / "ranks.npy", ranking.ranks, allow_pickle=False)
            return f"NDCG@10 {ndcg(ranking.ranks, 10).mean():.4f}"

        made = self._kept.get("ranks", label, config, inputs, make)
        ranks: Int32 = np.load(made.file("ranks.npy"), allow_pickle=False)
        return ranks


def compare(
    models: Sequence[Measured], against: Sequence[str], config: EvaluateModels
) -> list[Row]:
    """A row for each model, with its NDCG@10 less that of each model named in `against`.

    A user's metric is averaged over seeds; the bootstrap draws users, the same for all models.
    """
    columns: list[Floats] = []
    for model in models:
        columns += [_over_seeds(ndcg, model), _over_seeds(hit_rate, model)]
    bootstrap = Bootstrap.draw(np.stack(columns, axis=1), config.resamples, config.seed)
    place = {model.name: 2 * number for number, model in enumerate(models)}

    def figure(column: int) -> Figure:
        found = bootstrap.interval(column)
        return {"value": _short(found.value), "ci95": [_short(found.low), _short(found.high)]}

    def difference(a: str, b: str) -> Difference:
        found = bootstrap.difference(place[a], place[b])
        return {
            "difference": _short(found.value),
            "ci95": [_short(found.low), _short(found.high)],
            "p": _short(found.p),
        }

    return [
        {
            "name": model.name,
            "metrics": {NDCG: figure(place[model.name]), HR: figure(place[model.name] + 1)},
            "by_seed": [_short(float(ndcg(ranks, 10).mean())) for ranks in model.ranks],
            "versus": {
                other: difference(model.name, other) for other in against if other != model.name
            },
            "parameters_backbone": model.parameters_backbone,
        }
        for model in models
    ]


def _over_seeds(metric: Callable[[Int32, int], Floats], model: Measured) -> Floats:
    values: Floats = np.mean([metric(ranks, 10) for ranks in model.ranks], axis=0)
    return values


def _short(value: float) -> float:
    return round(value, DIGITS)
