"""What the trainings of the judged models left behind, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from slmrec.artifacts import Artifact
from slmrec.evaluation.metrics import HEADLINE
from slmrec.evaluation.outcome import STUDENT, short
from slmrec.models.checkpoint import ENSEMBLE

TRAINING, REPORT = "training.json", "report.json"
"""What a training step writes beside the weights."""


@dataclass(frozen=True)
class Curve:
    """What happened in each epoch of a training; of an ensemble, the mean over its networks."""

    name: str
    history: Sequence[Mapping[str, float]]
    """One entry an epoch: `epoch`, each loss term, and NDCG@10 where it was validated."""
    kept_ndcg: float
    """On validation, of the model as it was stored."""
    ensemble: bool = False

    @property
    def validated(self) -> list[tuple[float, float]]:
        """(epoch, NDCG@10 on validation)."""
        return [(one["epoch"], one[HEADLINE]) for one in self.history if HEADLINE in one]

    @property
    def best(self) -> tuple[float, float]:
        """The first highest point of `validated`."""
        return max(self.validated, key=lambda point: point[1])

    @property
    def terms(self) -> list[str]:
        """The loss terms, by name."""
        return sorted(set().union(*self.history) - {"epoch", HEADLINE})

    @property
    def losses(self) -> list[tuple[float, float]]:
        """(epoch, sum of the loss terms), means over positions."""
        terms = self.terms
        return [(one["epoch"], sum(one.get(term, 0.0) for term in terms)) for one in self.history]


@dataclass(frozen=True)
class Block:
    """How near the student's states are to the teacher's after one block of layers."""

    number: int
    cosine: float
    distance: float


@dataclass(frozen=True)
class Nearness:
    """How near the student came to its teacher; see `slmrec.distillation.distance`."""

    positions: int
    blocks: Sequence[Block]
    projected: bool
    certified_share: float | None
    same_first_share: float | None
    teacher_first_share: float

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self:
        """Read what the student's `report.json` holds."""
        blocks = [
            Block(block["block"], block["cosine"], block["distance"]) for block in report["blocks"]
        ]
        shares = (report["certified_share"], report["same_first_share"])
        return cls(
            report["positions"], blocks, report["projected"], *shares, report["teacher_first_share"]
        )

    def sentences(self) -> str:
        """What the figures mean."""
        said = [
            f"On {self.positions:,} training positions the student puts first what its teacher puts "
            f"first in {self.teacher_first_share:.1%} of the cases."
        ]
        if self.same_first_share is not None:
            said.append(
                "With the student's own item embeddings for both, their last states agree on the first "
                f"item in {self.same_first_share:.1%}; in {self.certified_share:.1%} they are so near "
                "that they must (Cauchy–Schwarz)."
            )
        if not self.blocks:
            said.append(
                "No loss held the student's states to the teacher's, which have another width, so "
                "there is nothing to compare block by block: it learned from scores alone."
            )
        elif self.projected:
            said.append(
                "The teacher's states are wider, so it is the student's projected ones that are "
                "compared, and agreement of the states on an item cannot be told."
            )
        return " ".join(said)


@dataclass(frozen=True)
class Trainings:
    """The learning curves of the judged models, and how near the student came to its teacher."""

    curves: Sequence[Curve] = ()
    """Those that have a validated epoch, in the order of the models."""
    without_curve: Sequence[str] = ()
    """Models that were not validated while they learned, or of which no training is recorded."""
    nearness: Nearness | None = None
    """None where the student's artifact does not say."""

    @classmethod
    def read(cls, models: Mapping[str, Artifact]) -> Self:
        """Collect what artifacts of trained models hold, by the names under which they are judged."""
        found = {name: _curve(name, artifact) for name, artifact in models.items()}
        shown = [curve for curve in found.values() if curve is not None and curve.validated]
        names = [curve.name for curve in shown]
        student = models.get(STUDENT)
        known = student is not None and REPORT in student.files
        return cls(
            shown,
            [name for name in found if name not in names],
            Nearness.of(student.json(REPORT)) if student is not None and known else None,
        )

    def sentences(self) -> str:
        """What is to know of the curves, beyond what they show."""
        said = [
            f"{curve.name}: best after epoch {curve.best[0]:.0f}, {short(curve.best[1])}."
            for curve in self.curves
        ]
        for curve in self.curves:
            if curve.ensemble:
                said.append(
                    f"The curve of {curve.name} is the mean over the networks it is made of."
                )
            if abs(curve.kept_ndcg - curve.best[1]) > 1e-9:
                said.append(
                    f"As stored, with what it counts beside its layers, {curve.name} reaches "
                    f"{short(curve.kept_ndcg)} on validation."
                )
        if self.without_curve:
            said.append(
                f"Without a curve, since it was not validated while it learned: "
                f"{', '.join(self.without_curve)}."
            )
        return " ".join(said)


def _curve(name: str, artifact: Artifact) -> Curve | None:
    if TRAINING not in artifact.files:
        return None
    training = artifact.json(TRAINING)
    return Curve(name, training["history"], training["best_ndcg"], ENSEMBLE in artifact.files)
