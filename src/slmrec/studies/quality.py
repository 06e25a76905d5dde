"""How good each model is for the test users, over seeds, and how sure the differences are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from slmrec.arrays import read_array
from slmrec.artifacts import Artifact, canonical_json, publish
from slmrec.config import EvaluateModels
from slmrec.data.sequences import Int32, Sequences
from slmrec.errors import DataError
from slmrec.evaluation.bootstrap import DIGITS, Bootstrap, MetricValue
from slmrec.evaluation.metrics import Floats, hit_rate, ndcg
from slmrec.evaluation.ranking import rank_users
from slmrec.models.decoder import Decoder
from slmrec.models.loading import TorchScorer, load_scorer
from slmrec.models.scorer import Scorer
from slmrec.progress import Progress
from slmrec.studies.kept import Kept

NDCG, HR = "ndcg@10", "hr@10"


class Difference(TypedDict):
    """NDCG@10 less that of another model, on the same users."""

    difference: float
    ci95: list[float]
    p: float


class Row(TypedDict):
    """One model of a study."""

    name: str
    metrics: Mapping[str, MetricValue]
    by_seed: list[float]
    """NDCG@10 of each seed's model."""
    versus: Mapping[str, Difference]
    parameters_backbone: int


@dataclass(frozen=True)
class Part:
    """What of a stored decoder is measured; by default all of it."""

    first_layers: int | None = None
    """Cut to so many layers, and its final norm."""
    memory: bool = True
    """Whether it may use its memory."""

    def of(self, scorer: Scorer) -> Scorer:
        """The part as a model of its own. Raises `DataError` where the model is no decoder."""
        if self == Part():
            return scorer
        decoder = scorer.model if isinstance(scorer, TorchScorer) else None
        if not isinstance(decoder, Decoder):
            raise DataError(f"model '{scorer.name}': expected a decoder, to measure a part of it")
        if self.first_layers is not None:
            decoder = decoder.with_layers(range(self.first_layers), 0.0, 0.0)
        if not self.memory:
            decoder.memory = None
        return TorchScorer(decoder, scorer.name, scorer.bytes)


WHOLE = Part()


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

    def measure(self, name: str, models: Sequence[Artifact], part: Part = WHOLE) -> Measured:
        """Rank with each seed's model, or a part of it."""
        ranks = []
        for number, model in enumerate(models, start=1):
            settings = {"filter_seen": self._config.filter_seen, **asdict(part)}
            label = f"{name}, ranks of seed {number}"
            load = partial(_load, model, part)
            ranks.append(self._ranks(load, label, settings, model))
        return Measured(name, ranks, _load(models[0], part).parameters_backbone)

    def measure_counted(self, scorer: Scorer) -> Measured:
        """Rank with what was counted of the log, which no seed changes."""
        assert self._sequences.artifact is not None
        settings = {"filter_seen": self._config.filter_seen, "counted": scorer.name}
        label = f"{scorer.name}, ranks"
        ranks = self._ranks(lambda: scorer, label, settings, self._sequences.artifact)
        return Measured(scorer.name, [ranks], scorer.parameters_backbone)

    def _ranks(
        self,
        load: Callable[[], Scorer],
        label: str,
        settings: Mapping[str, Any],
        model: Artifact,
    ) -> Int32:
        config, inputs = canonical_json(settings), {"model": model}

        def make(place: Path, progress: Progress) -> str:
            def report(ranks: Int32) -> None:
                note = f"NDCG@10 {ndcg(ranks, 10).mean():.4f}"
                progress.update(len(ranks), len(self.users), note)

            ranking = rank_users(
                load(),
                self._sequences,
                self.users,
                self.positions,
                exclude_seen=self._config.filter_seen,
                name=label,
                report=report,
            )
            with publish(place, "ranks", config=config, inputs=inputs) as staging:
                np.save(staging / "ranks.npy", ranking.ranks, allow_pickle=False)
            return f"NDCG@10 {ndcg(ranking.ranks, 10).mean():.4f}"

        made = self._kept.get("ranks", label, config, inputs, make)
        ranks: Int32 = read_array(made, "ranks.npy")
        return ranks


def _load(model: Artifact, part: Part) -> Scorer:
    return part.of(load_scorer(model.path))


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
            "metrics": {
                NDCG: bootstrap.interval(place[model.name]).as_json(),
                HR: bootstrap.interval(place[model.name] + 1).as_json(),
            },
            "by_seed": [_short(float(ndcg(ranks, 10).mean())) for ranks in model.ranks],
            "versus": {
                other: difference(model.name, other)
                for other in against
                if other in place and other != model.name
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
