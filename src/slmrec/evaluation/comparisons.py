"""Who is compared with whom, on all users and on groups of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from slmrec.config import EvaluateModels
from slmrec.evaluation.bootstrap import DIGITS, Bootstrap, holm
from slmrec.evaluation.metrics import HEADLINE
from slmrec.evaluation.outcome import (
    BASELINE,
    LEARNED,
    PRODUCTION,
    SASREC,
    SERVABLE,
    STUDENT,
    TEACHER,
    TRANSITIONS,
    Comparison,
    SegmentResult,
)
from slmrec.evaluation.segments import Segment
from slmrec.models.scorer import Scorer

Columns = Mapping[tuple[str, str], int]
"""(model, metric) → its column of a bootstrap."""


@dataclass(frozen=True)
class Contender:
    """A model under the name and in the role in which it is judged."""

    name: str
    kind: str
    scorer: Scorer


def compare(
    contenders: Sequence[Contender], bootstrap: Bootstrap, columns: Columns
) -> list[Comparison]:
    """NDCG@10 of every two models that are worth comparing, p-values corrected for all of them."""
    return _corrected([_comparison(a, b, bootstrap, columns) for a, b in _pairs(contenders)])


def compare_segments(
    segments: Sequence[Segment],
    contenders: Sequence[Contender],
    headlines: NDArray[np.float64],
    config: EvaluateModels,
) -> list[SegmentResult]:
    """The same in groups of users, p-values of each two models corrected for the groups.

    `headlines` float64 [users, models] is NDCG@10 of all users.
    """
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
    bootstrap = Bootstrap.draw(headlines[segment.members], config.resamples, config.seed)
    columns = {(contender.name, HEADLINE): place for place, contender in enumerate(contenders)}
    return {
        "kind": segment.kind,
        "name": segment.name,
        "users": bootstrap.users,
        "enough_users": bootstrap.enough,
        "models": {
            contender.name: bootstrap.interval(place).as_json()
            for place, contender in enumerate(contenders)
        },
        "comparisons": [
            {**_comparison(a, b, bootstrap, columns), "p_holm": 1.0}
            for a, b in _segment_pairs(contenders)
        ],
    }


def _comparison(a: str, b: str, bootstrap: Bootstrap, columns: Columns) -> Comparison:
    found = bootstrap.difference(columns[a, HEADLINE], columns[b, HEADLINE])
    return {
        "a": a,
        "b": b,
        "metric": HEADLINE,
        "difference": round(found.value, DIGITS),
        "ci95": [round(found.low, DIGITS), round(found.high, DIGITS)],
        "p": round(found.p, DIGITS),
        "p_holm": round(found.p, DIGITS),
    }


def _corrected(comparisons: list[Comparison]) -> list[Comparison]:
    corrected = holm([comparison["p"] for comparison in comparisons])
    for comparison, value in zip(comparisons, corrected, strict=True):
        comparison["p_holm"] = round(value, DIGITS)
    return comparisons
