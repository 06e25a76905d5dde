"""Each reason to start a run: whether it holds, why, and what facts it rests on.

A pure function of facts that somebody has gathered. Whether the run then trains is decided inside it,
by `slmrec.drift.retraining`, which has read the data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from slmrec.artifacts import canonical_json, digest_text
from slmrec.config import DecideRetraining
from slmrec.data.listing import Files, Listing, changed_share
from slmrec.drift.verdicts import DRIFT
from slmrec.registry.channels import Channels
from slmrec.registry.moments import is_later
from slmrec.registry.versions import Version


@dataclass(frozen=True)
class SeenSource:
    """The source as a training, or a run that was started, found it."""

    when: str
    """As it stands after 'since'."""
    digest: str
    files: Files | None
    """None where they were not recorded."""


@dataclass(frozen=True)
class DriftFinding:
    """What a run said of drift."""

    verdict: str
    run: str
    started: str
    """ISO 8601."""
    trained: bool
    """Whether that run itself trained."""
    production: int | None = None
    """The version that served when it looked; None where it does not say."""


@dataclass(frozen=True)
class Facts:
    """All that the reasons are judged by."""

    now: datetime
    channels: Channels
    production: Version | None
    newest: Version | None
    """The last that was trained, whether it serves or not."""
    seen: tuple[SeenSource, ...]
    """By production, the newest version and the last run that was started, where there are such."""
    source: Listing | None
    """None where this machine cannot see it."""
    code_digest: str
    settings_digest: str
    policy: DecideRetraining
    min_change: float
    """Share of the source that has to be another one."""
    forced: str = ""
    """Why a person starts a run whatever else; empty where nobody does."""
    drift: DriftFinding | None = None


@dataclass(frozen=True)
class Reason:
    """One reason, and whether it holds."""

    name: str
    holds: bool | None
    """None where it cannot be known."""
    why: str
    key: str = ""
    """Digest of the reason and of what it rests on; empty where it does not hold."""


def reasons(facts: Facts) -> tuple[Reason, ...]:
    """Every reason, always in this order."""
    judges = (_forced, _production, _request, _drift, _data, _code, _settings)
    return tuple(judge(facts) for judge in judges)


def _forced(facts: Facts) -> Reason:
    if not facts.forced:
        return Reason("forced", False, "nobody forces it")
    digests = (_digest(facts), facts.code_digest, facts.settings_digest)
    return _holds("forced", facts.forced, facts.forced, *digests)


def _production(facts: Facts) -> Reason:
    if facts.production is not None:
        return Reason("no production", False, f"version {facts.production.number} serves")
    digests = (_settled_digest(facts), facts.code_digest, facts.settings_digest)
    return _holds("no production", "there is no production model yet", *digests)


def _request(facts: Facts) -> Reason:
    asked = facts.channels.request
    if asked is None:
        return Reason("request", False, "nobody asks for training")
    why = f"{asked.actor} asked for it: {asked.reason}"
    return _holds("request", why, asked.number, asked.time)


def _drift(facts: Facts) -> Reason:
    found, production = facts.drift, facts.production
    if found is None:
        return Reason("drift", None, "no --summary of a run says")
    if not facts.policy.on_drift:
        return Reason("drift", False, "decide_retraining.on_drift is false")
    if found.verdict != DRIFT:
        return Reason("drift", False, f"run {found.run} found '{found.verdict}'")
    if production is None:
        return Reason("drift", False, "nothing serves yet")
    if not is_later(found.started, production.added):
        return Reason("drift", False, f"run {found.run} is not newer than what serves")
    if found.production not in (None, production.number):
        why = f"run {found.run} found it while version {found.production} served"
        return Reason("drift", False, why)
    if found.trained:
        return Reason("drift", False, f"run {found.run} found it and trained")
    return _unless_snoozed(
        facts, _holds("drift", f"run {found.run} found drift and did not train", found.run)
    )


def _data(facts: Facts) -> Reason:
    production, source = facts.production, facts.source
    if production is None:
        return Reason("data", False, "nothing serves yet")
    if source is None:
        return Reason("data", None, "the source cannot be seen from this machine")
    share, seen = _least_change(source, facts.seen)
    if share is None:
        return Reason("data", None, f"it changed, and nobody recorded its files when {seen}")
    if share == 0:
        return Reason("data", False, f"the source holds what it held when {seen}")
    why = f"{share:.1%} of the source changed since {seen}"
    if share < facts.min_change:
        return Reason("data", False, f"{why}, needed are {facts.min_change:.1%}")
    return _unless_snoozed(facts, _holds("data", why, source.digest, production.number))


def _code(facts: Facts) -> Reason:
    if not facts.policy.on_code_change:
        return Reason("code", False, "decide_retraining.on_code_change is false")
    return _changed(facts, "code", facts.code_digest, lambda version: version.code_digest)


def _settings(facts: Facts) -> Reason:
    return _changed(
        facts, "settings", facts.settings_digest, lambda version: version.settings_digest
    )


def _changed(facts: Facts, name: str, digest: str, of: Callable[[Version], str]) -> Reason:
    if facts.production is None:
        return Reason(name, False, "nothing serves yet")
    for version in filter(None, (facts.production, facts.newest)):
        if of(version) == digest:
            return Reason(name, False, f"version {version.number} was trained with {digest[:12]}")
    before = of(facts.production)[:12] or "unknown"
    why = f"now {digest[:12]}, version {facts.production.number} was trained with {before}"
    return _holds(name, why, digest, facts.production.number)


def _least_change(source: Listing, seen: tuple[SeenSource, ...]) -> tuple[float | None, str]:
    """How much changed since whoever saw most of it, and who that is; None where nobody can tell."""
    for one in seen:
        if one.digest == source.digest:
            return 0.0, one.when
    known = [(changed_share(one.files, source.files), one.when) for one in seen if one.files]
    return min(known, default=(None, seen[0].when))


def _settled_digest(facts: Facts) -> str:
    """The source's digest, or that of a source so like it that it is no other reason."""
    source = facts.source
    if source is None:
        return ""
    for one in facts.seen:
        if one.files and changed_share(one.files, source.files) < facts.min_change:
            return one.digest
    return source.digest


def _digest(facts: Facts) -> str:
    return facts.source.digest if facts.source is not None else ""


def _unless_snoozed(facts: Facts, reason: Reason) -> Reason:
    snooze = facts.channels.snoozed(facts.now)
    if snooze is None:
        return reason
    why = f"{reason.why}; ignored until {snooze.until} for {snooze.actor}: {snooze.reason}"
    return Reason(reason.name, False, why)


def _holds(name: str, why: str, *rests_on: object) -> Reason:
    return Reason(name, True, why, digest_text(canonical_json([name, *rests_on]))[:32])
