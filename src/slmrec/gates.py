"""The gates: what a candidate must show before it becomes production.

A gate that cannot be computed refuses. None passes because a number was missing or not a number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from slmrec.config import Positive, Rate, Section, Share
from slmrec.times import moment

HEADLINE = "ndcg@10"
PRODUCTION = "production"
LIST_LENGTH = 10
WHOLE = ("history", "target")
"""Kinds of groups that share the users out among them."""
NEW = "new"
"""A group of users who are in another group of their kind, too."""
PositiveReal = Annotated[float, Field(gt=0)]


class GatePolicy(Section):
    """Thresholds of `validation/gates.yaml`; why each has its value is said there."""

    min_users: Positive
    """Users with a test target."""
    min_gain_over_popularity: Share
    """NDCG@10; the lower end of the paired interval must lie above it."""
    max_loss_to_transitions: Share
    """NDCG@10; refused when the whole paired interval lies below minus this."""
    max_loss_share_to_student: Share
    """Share of the student's NDCG@10 that compression may cost."""
    min_ndcg: Rate
    """NDCG@10 expected where there is no production model."""
    max_batch1_p95_ms: PositiveReal
    """Milliseconds, 95th percentile of one-user requests."""
    max_latency_increase: Share
    """Of the median request of one user, over production's in the same run."""
    max_megabytes: PositiveReal
    """10^6 bytes of stored weights."""
    max_backbone_share_of_teacher: Rate
    """Parameters without the embedding tables."""
    min_coverage: Share
    """Distinct items in all top-10 lists, of as many as the lists, or the catalogue, can hold."""
    min_overlap_with_student: Share
    """Of the student's top-10 lists that the candidate lists, too."""
    max_group_p: Share
    """A group of users counts as hurt where the candidate is worse than the student, or than
    production, and the p-value, corrected for all groups, lies below."""


@dataclass(frozen=True)
class Gate:
    """One gate's outcome; `found` and `required` are for people to read."""

    name: str
    passed: bool
    found: str
    required: str
    evidence: str
    """Where the number stands."""


@dataclass(frozen=True)
class Production:
    """The version that serves now; the evaluation has judged it as the model `production`."""

    number: int
    model_digest: str
    newest: int | None
    """Time of the newest interaction behind it, seconds; None where its log has no times."""


def check_gates(
    metrics: Mapping[str, Any],
    timings: Mapping[str, Any],
    *,
    candidate: str,
    newest: int | None,
    sequences_digest: str,
    evaluated_digest: str,
    judged_production: str,
    production: Production | None,
    policy: GatePolicy,
) -> list[Gate]:
    """Put the candidate of an evaluation through every gate, in a fixed order.

    `metrics` and `timings` are the contents of `metrics.json` and `timings.json`, `candidate` the name
    under which they hold it, `newest` the time of the newest interaction behind it, None where the log
    has an order and no times; `evaluated_digest` is the digest of the sequences that the evaluation
    names as its input and `judged_production` that of the model which took part as `production`, empty
    without one.
    """
    name, result = candidate, _model(metrics, candidate)
    return [
        _same_data(sequences_digest, evaluated_digest),
        _not_older(newest, production),
        _at_least("users_evaluated", metrics.get("users"), policy.min_users, "metrics.json: users"),
        _above_popularity(metrics, name, policy),
        _not_below_transitions(metrics, name, policy),
        _close_to_student(metrics, result, policy),
        _at_least(
            "parity",
            _at(result, "overlap@10"),
            policy.min_overlap_with_student,
            f"metrics.json: {name}.overlap@10, lists shared with the student",
        ),
        _no_group_below("no_group_hurt", metrics, name, "student", policy),
        _covered(metrics, name, policy),
        _not_below_production(metrics, name, judged_production, production, policy),
        _groups_to_production(metrics, name, production, policy),
        _at_most(
            "latency",
            _at(timings, name, "batch1_p95"),
            policy.max_batch1_p95_ms,
            f"timings.json: {name}.batch1_p95",
            unit=" ms",
        ),
        _latency_to_production(timings, name, production, policy),
        _at_most(
            "size",
            _scaled(result.get("bytes"), 1e-6),
            policy.max_megabytes,
            f"metrics.json: {name}.bytes",
            unit=" MB",
        ),
        _backbone_share(metrics, result, policy),
    ]


def _same_data(expected: str, found: str) -> Gate:
    return Gate(
        "evaluated_on_these_data",
        bool(expected) and found == expected,
        found[:12] or "not recorded",
        expected[:12],
        "evaluation/manifest.json: inputs.sequences",
    )


def _not_older(newest: int | None, production: Production | None) -> Gate:
    known = None if production is None else production.newest
    required = "no production yet" if production is None else "no times in production's log"
    return Gate(
        "data_not_older",
        known is None or (newest is not None and newest >= known),
        "a log without times" if newest is None else f"newest interaction at {moment(newest)}",
        required if known is None else f"at {moment(known)} or later",
        "sequences: timestamps; the registry's version",
    )


def _no_group_below(
    gate: str, metrics: Mapping[str, Any], name: str, other: str, policy: GatePolicy
) -> Gate:
    """Every group that has enough users must be there with a difference that can be read."""
    hurt, judged, readable = [], 0, True
    groups = _entries(metrics, "segments")
    for group in groups:
        if group.get("enough_users") is False:
            continue
        pairs = _entries(group, "comparisons")
        mine = [one for one in pairs if (one.get("a"), one.get("b")) == (name, other)]
        pair: Mapping[str, Any] = mine[0] if mine else {}
        difference, p = _number(pair.get("difference")), _number(pair.get("p_holm"))
        judged += 1
        if difference is None or p is None:
            readable = False
        elif difference < 0 and p < policy.max_group_p:
            hurt.append(f"{group.get('kind')}: {group.get('name')} {difference:+.4f}")
    found = "; ".join(hurt) if hurt else f"none of {judged}" if judged else "not measured"
    complete = readable and _everybody_in(groups, metrics.get("users"))
    return Gate(
        gate,
        bool(judged) and complete and not hurt,
        found if complete else "not measured for every group",
        f"no group of users with a loss to {other} at p < {policy.max_group_p:g}, corrected",
        f"metrics.json: segments, {name} − {other}",
    )


def _everybody_in(groups: Sequence[Mapping[str, Any]], users: Any) -> bool:
    """Whether no group was left out: each way of grouping in `WHOLE` holds every user once."""
    return all(
        sum(
            _number(group.get("users")) or 0.0
            for group in groups
            if group.get("kind") == kind and group.get("name") != NEW
        )
        == _number(users)
        for kind in WHOLE
    )


def _covered(metrics: Mapping[str, Any], name: str, policy: GatePolicy) -> Gate:
    """What is listed, as a share of what so many lists of ten could hold; one list for all is none."""
    share = _number(_at(_model(metrics, name), "lists", "coverage"))
    items = _positive(_number(metrics.get("items")))
    users = _positive(_number(metrics.get("users")))
    evidence = f"metrics.json: {name}.lists.coverage, items, users"
    if share is None or items is None or users is None:
        return _at_least("coverage", None, policy.min_coverage, evidence)
    listed = share * items
    found = 0.0 if listed < LIST_LENGTH + 0.5 < items else listed / min(items, LIST_LENGTH * users)
    return _at_least("coverage", found, policy.min_coverage, evidence)


def _groups_to_production(
    metrics: Mapping[str, Any], name: str, production: Production | None, policy: GatePolicy
) -> Gate:
    gate = "no_group_below_production"
    if production is None:
        return Gate(gate, True, "no production yet", "nothing", "metrics.json: segments")
    return _no_group_below(gate, metrics, name, PRODUCTION, policy)


def _above_popularity(metrics: Mapping[str, Any], name: str, policy: GatePolicy) -> Gate:
    interval = _difference(metrics, name, "popularity")
    limit = policy.min_gain_over_popularity
    return Gate(
        "above_popularity",
        interval is not None and interval[0] > limit,
        _spell_interval(interval),
        f"95 % interval above {limit:+.4f}",
        f"metrics.json: comparisons, {name} − popularity, {HEADLINE}",
    )


def _not_below_transitions(metrics: Mapping[str, Any], name: str, policy: GatePolicy) -> Gate:
    interval = _difference(metrics, name, "transitions")
    limit = 0.0 - policy.max_loss_to_transitions  # not -0.0, which would be shown as such
    return Gate(
        "not_below_transitions",
        interval is not None and interval[1] >= limit,
        _spell_interval(interval),
        f"95 % interval reaching {limit:+.4f} or more",
        f"metrics.json: comparisons, {name} − transitions, {HEADLINE}",
    )


def _close_to_student(
    metrics: Mapping[str, Any], candidate: Mapping[str, Any], policy: GatePolicy
) -> Gate:
    student = _positive(_value(_model(metrics, "student")))
    value = _value(candidate)
    loss = None if student is None or value is None else 1 - value / student
    return _at_most(
        "close_to_student",
        loss,
        policy.max_loss_share_to_student,
        f"metrics.json: {HEADLINE} of {candidate.get('name', 'the candidate')} and student",
        percent=True,
    )


def _not_below_production(
    metrics: Mapping[str, Any],
    name: str,
    judged: str,
    production: Production | None,
    policy: GatePolicy,
) -> Gate:
    """Production is judged on the same users; a loss that chance does not explain refuses."""
    if production is None:
        value = _value(_model(metrics, name))
        evidence = f"metrics.json: {HEADLINE}; no production yet"
        return _at_least("not_below_production", value, policy.min_ndcg, evidence)
    interval = _difference(metrics, name, PRODUCTION)
    same = judged == production.model_digest
    return Gate(
        "not_below_production",
        same and interval is not None and interval[1] >= 0,
        _spell_interval(interval) if same else f"compared with model {judged[:12] or 'none'}",
        f"95 % interval of the difference to version {production.number} "
        f"({production.model_digest[:12]}) reaching 0",
        f"metrics.json: comparisons, {name} − {PRODUCTION}, {HEADLINE}",
    )


def _latency_to_production(
    timings: Mapping[str, Any], name: str, production: Production | None, policy: GatePolicy
) -> Gate:
    evidence = f"timings.json: batch1_p50 of {name} and {PRODUCTION}, taken in turns"
    if production is None:
        return Gate("latency_to_production", True, "no production yet", "nothing", evidence)
    theirs = _positive(_number(_at(timings, PRODUCTION, "batch1_p50")))
    mine = _positive(_number(_at(timings, name, "batch1_p50")))
    increase = None if mine is None or theirs is None else mine / theirs - 1
    return _at_most(
        "latency_to_production", increase, policy.max_latency_increase, evidence, percent=True
    )


def _backbone_share(
    metrics: Mapping[str, Any], candidate: Mapping[str, Any], policy: GatePolicy
) -> Gate:
    teacher = _positive(_number(_model(metrics, "teacher").get("parameters_backbone")))
    own = _positive(_number(candidate.get("parameters_backbone")))
    return _at_most(
        "backbone_share_of_teacher",
        None if teacher is None or own is None else own / teacher,
        policy.max_backbone_share_of_teacher,
        f"metrics.json: parameters_backbone of {candidate.get('name', 'the candidate')} and teacher",
        percent=True,
    )


def _at_least(name: str, found: Any, limit: float, evidence: str) -> Gate:
    number = _number(found)
    return Gate(
        name,
        number is not None and number >= limit,
        "not measured" if number is None else f"{number:.4g}",
        f"at least {limit:g}",
        evidence,
    )


def _at_most(
    name: str, found: Any, limit: float, evidence: str, *, unit: str = "", percent: bool = False
) -> Gate:
    number = _number(found)
    scale, unit = (100, " %") if percent else (1, unit)
    return Gate(
        name,
        number is not None and number <= limit,
        "not measured" if number is None else f"{scale * number:.4g}{unit}",
        f"at most {scale * limit:g}{unit}",
        evidence,
    )


def _model(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A model's entry; an empty one when it is not there, from which every gate refuses."""
    for model in _entries(metrics, "models"):
        if name and model.get("name") == name:
            return model
    return {}


def _difference(metrics: Mapping[str, Any], a: str, b: str) -> tuple[float, float] | None:
    """95 % interval of `a` minus `b`, whichever way round it was recorded."""
    for comparison in _entries(metrics, "comparisons"):
        pair = (comparison.get("a"), comparison.get("b"))
        if comparison.get("metric") != HEADLINE or pair not in ((a, b), (b, a)):
            continue
        interval = comparison.get("ci95")
        if not isinstance(interval, list | tuple) or len(interval) != 2:
            return None
        low, high = _number(interval[0]), _number(interval[1])
        if low is None or high is None:
            return None
        return (low, high) if pair == (a, b) else (-high, -low)
    return None


def _entries(content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects of a list; none where there is no list."""
    found = content.get(key)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _at(content: Any, *keys: str | int) -> Any:
    """A nested value; None where the way to it is broken."""
    for key in keys:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return None
    return content


def _value(model: Mapping[str, Any]) -> float | None:
    return _number(_at(model, "metrics", HEADLINE, "value"))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number that no float can take
        return None


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _scaled(value: Any, factor: float) -> float | None:
    number = _positive(_number(value))
    return None if number is None else number * factor


def _spell_interval(interval: tuple[float, float] | None) -> str:
    return "not measured" if interval is None else f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"
