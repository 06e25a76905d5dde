"""Which compressed student goes forward, by quality, by speed on this machine and by size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slmrec.config import EvaluateModels
from slmrec.errors import ConfigError
from slmrec.evaluation.metrics import HEADLINE
from slmrec.evaluation.outcome import FLOAT32, SERVABLE, STUDENT, Results


@dataclass(frozen=True)
class Standing:
    """What the choice looks at."""

    name: str
    bytes: int
    ndcg: float
    overlap: float
    """Share of the student's top-10 lists that it lists, too."""
    milliseconds: float
    """Median of a request for one user."""
    users_per_second: float
    """In batches."""
    float32: bool = False
    """Whether its weights were left in float32."""

    def slower_than(self, other: "Standing") -> bool:
        """Whether one user or a batch waits longer than with another model."""
        return (
            self.milliseconds > other.milliseconds or self.users_per_second < other.users_per_second
        )


@dataclass(frozen=True)
class Choice:
    """The candidate and, in a sentence, why."""

    name: str
    reason: str


def standings(
    results: Results, timings: Mapping[str, Mapping[str, float]]
) -> tuple[Standing, list[Standing]]:
    """The student's standing and those of its variants."""
    found = [
        Standing(
            model["name"],
            model["bytes"],
            model["metrics"][HEADLINE]["value"],
            model["overlap@10"],
            timings[model["name"]]["batch1_p50"],
            timings[model["name"]]["users_per_second"],
            model["weights"] == FLOAT32,
        )
        for model in results["models"]
        if model["kind"] in (STUDENT, SERVABLE)
    ]
    names = {model["name"] for model in results["models"] if model["kind"] == SERVABLE}
    student = next(standing for standing in found if standing.name not in names)
    return student, [standing for standing in found if standing.name in names]


def choose_candidate(
    student: Standing, variants: Sequence[Standing], config: EvaluateModels
) -> Choice:
    """Choose the fastest variant that keeps the student's quality, then the smallest.

    A variant keeps it when its NDCG@10 is at least (1 - `max_ndcg_loss`) times the student's and it
    lists at least `min_overlap` of what the student lists; when none does, the one with the highest
    NDCG@10 is taken and the reason says so. Of those that keep it, what has other numbers than float32
    and is slower than the fastest in float32, for one user or in batches, is never taken; where none is
    in float32 the student is the measure. Variants whose latency is within `equal_latency_share` of the
    fastest count as equally fast; the smallest of them is taken, then the better one, then the first by
    name.

    Raises `ConfigError` when there is no variant, or all that keep the quality are slower than float32.
    """
    if not variants:
        raise ConfigError(
            "variants: none to choose from, expected at least one compressed student; "
            "add one under 'variants' in the configuration"
        )
    required = (1.0 - config.max_ndcg_loss) * student.ndcg
    keeping = [
        variant
        for variant in variants
        if variant.ndcg >= required and variant.overlap >= config.min_overlap
    ]
    if not keeping:
        best = min(variants, key=lambda one: (-one.ndcg, one.milliseconds, one.bytes, one.name))
        loss = 1.0 - best.ndcg / student.ndcg if student.ndcg else 0.0
        return Choice(
            best.name,
            f"no variant keeps NDCG@10 within {config.max_ndcg_loss:.1%} of the student's "
            f"{student.ndcg:.4f} and {config.min_overlap:.0%} of its lists; this one has the highest, "
            f"{best.ndcg:.4f}, {loss:.1%} below, and {best.overlap:.1%} of the lists",
        )
    plain = min(
        [variant for variant in keeping if variant.float32] or [student],
        key=lambda one: one.milliseconds,
    )
    able = [one for one in keeping if one.float32 or not one.slower_than(plain)]
    if not able:
        raise ConfigError(
            f"variants: all {len(keeping)} that keep the quality are slower on this machine than the "
            f"student in float32 ({plain.milliseconds:.2f} ms a request, "
            f"{plain.users_per_second:,.0f} users/s), so none is chosen; add a variant with weights "
            "'float32'"
        )
    fastest = min(one.milliseconds for one in able)
    alike = [one for one in able if one.milliseconds <= fastest * (1 + config.equal_latency_share)]
    best = min(alike, key=lambda one: (one.bytes, -one.ndcg, one.name))
    first = "fastest" if len(alike) == 1 else f"smallest of the {len(alike)} fastest"
    slow = len(keeping) - len(able)
    left_out = f"; {slow} slower than float32 on this machine left out" if slow else ""
    return Choice(
        best.name,
        f"{first} of {len(keeping)} (of {len(variants)}) variants that keep NDCG@10 within "
        f"{config.max_ndcg_loss:.1%} of the student's and {config.min_overlap:.0%} of its lists: "
        f"{best.ndcg:.4f} against {student.ndcg:.4f}, {best.overlap:.1%} of the lists, "
        f"{best.milliseconds:.2f} ms a request, {best.bytes:,} bytes{left_out}",
    )
