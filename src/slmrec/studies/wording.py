"""How numbers are written on a study's page."""

from collections.abc import Mapping, Sequence
from typing import Any

from slmrec.evaluation.bootstrap import MetricValue
from slmrec.studies.quality import NDCG, Difference, Row


def figure(found: MetricValue) -> str:
    """`0.0712 [0.0680, 0.0750]`."""
    low, high = found["ci95"]
    return f"{found['value']:.4f} [{low:.4f}, {high:.4f}]"


def difference(versus: Mapping[str, Difference], other: str) -> str:
    """`+0.0031 [+0.0012, +0.0050]`, or a dash for the other model itself."""
    if other not in versus:
        return "–"
    found = versus[other]
    low, high = found["ci95"]
    return f"{found['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"


def side(found: Difference) -> int:
    """1 or -1 where the interval lies on one side of zero, else 0."""
    low, high = found["ci95"]
    return 1 if low > 0 else -1 if high < 0 else 0


def relative(row: Row, other: Row) -> float:
    """NDCG@10 of a row less that of another, as a share of the other's; 0 where that is 0."""
    base = other["metrics"][NDCG]["value"]
    return row["metrics"][NDCG]["value"] / base - 1 if base else 0.0


def share(value: float) -> str:
    """`12.3 %`."""
    return f"{100 * value:.1f} %"


def listing(names: Sequence[Any]) -> str:
    """`a, b and c`."""
    words = [str(name) for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
