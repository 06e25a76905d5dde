"""Which compressed student goes forward."""

from collections.abc import Sequence
from dataclasses import dataclass

from slmrec.errors import ConfigError


@dataclass(frozen=True)
class Standing:
    """What the choice looks at: a model's size in bytes and its NDCG@10."""

    name: str
    bytes: int
    ndcg: float


@dataclass(frozen=True)
class Choice:
    """The candidate and, in a sentence, why."""

    name: str
    reason: str


def choose_candidate(
    student: Standing, variants: Sequence[Standing], max_ndcg_loss: float
) -> Choice:
    """Choose the smallest variant that keeps the student's NDCG@10.

    A variant keeps it when its own is at least (1 - `max_ndcg_loss`) times the student's. When none
    does, the variant with the highest NDCG@10 is taken and the reason says so. Equal sizes go to
    the better one, then to the first by name. Raises `ConfigError` when there is no variant.
    """
    if not variants:
        raise ConfigError(
            "variants: none to choose from, expected at least one compressed student; "
            "add one under 'variants' in the configuration"
        )
    required = (1.0 - max_ndcg_loss) * student.ndcg
    keeping = [variant for variant in variants if variant.ndcg >= required]
    if keeping:
        best = min(keeping, key=lambda variant: (variant.bytes, -variant.ndcg, variant.name))
        return Choice(
            best.name,
            f"smallest of {len(keeping)} (of {len(variants)}) variants that keep NDCG@10 within "
            f"{max_ndcg_loss:.1%} of the student's: {best.ndcg:.4f} against {student.ndcg:.4f}, "
            f"{best.bytes:,} bytes",
        )
    best = min(variants, key=lambda variant: (-variant.ndcg, variant.bytes, variant.name))
    loss = 1.0 - best.ndcg / student.ndcg
    return Choice(
        best.name,
        f"no variant keeps NDCG@10 within {max_ndcg_loss:.1%} of the student's "
        f"{student.ndcg:.4f}; this one has the highest, {best.ndcg:.4f}, {loss:.1%} below",
    )
