"""What a submitted form does: it acts through the registry, once, on what the person saw."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from slmrec.dashboard.problems import ProblemError
from slmrec.dashboard.records import Records, Registered
from slmrec.errors import ArtifactError, RegistryConflict
from slmrec.registry.decisions import PROMOTE, REJECT, RETRAIN, ROLLBACK, SNOOZE, Decision

ACTIONS = (PROMOTE, REJECT, SNOOZE, RETRAIN, ROLLBACK)
LONGEST_REASON = 2000
_EVIDENCE = "evidence."


@dataclass(frozen=True)
class State:
    """What the registry was when a form was made; a form for another state acts no more."""

    production: int | None
    candidate: int | None
    decided: int


@dataclass(frozen=True)
class Form:
    """A decision that somebody has submitted."""

    action: str
    reason: str
    until: str
    """Of a snooze, ISO 8601 in UTC."""
    seen: Mapping[str, str]
    """The state that the form was made for, as texts."""
    evidence: Mapping[str, str]


def state(registered: Registered) -> State:
    """What a form made now is for."""
    channels = registered.channels
    return State(channels.production, channels.candidate, channels.decided)


def evidence(records: Records, registered: Registered) -> dict[str, dict[str, str]]:
    """For each action the digests of what it rests on, as the pages show it now."""
    drift = records.drift()
    shown = {} if drift is None else {"drift": drift.digest}
    about = {PROMOTE: registered.waiting, REJECT: registered.waiting}
    about[ROLLBACK] = registered.production
    found = {}
    for action in ACTIONS:
        version = about.get(action)
        measured = {}
        if version is not None:
            measured = {"evaluation": version.evaluation_digest, "model": version.model_digest}
        found[action] = shown | measured
    return found


def read_form(action: str, fields: Mapping[str, str], now: datetime) -> Form:
    """Read the fields of a form. Raises `ProblemError`."""
    if action not in ACTIONS:
        raise ProblemError(404, "No such decision", f"Decisions are {', '.join(ACTIONS)}.")
    reason = " ".join(fields.get("reason", "").split())
    if not reason:
        raise ProblemError(
            400, "A reason is missing", "Say why in a few words; it stands in the decision log."
        )
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise ProblemError(
            400,
            "The reason cannot be kept",
            f"Write plain text of at most {LONGEST_REASON:,} characters.",
        )
    until = _moment(fields.get("until", ""), now) if action == SNOOZE else ""
    return Form(
        action,
        reason,
        until,
        {name: fields.get(name, "") for name in ("production", "candidate", "decided")},
        {
            name.removeprefix(_EVIDENCE): digest
            for name, digest in fields.items()
            if name.startswith(_EVIDENCE)
        },
    )


def decide(records: Records, form: Form, actor: str) -> Decision | None:
    """Do what a form says; a form that was submitted before gives the decision that it made then.

    None where it had been so already. Raises `ProblemError` when anything has changed since the form
    was made, or the evidence is not what the pages show.
    """
    registered = records.registered()
    current = state(registered)
    if form.seen != {name: _spell(value) for name, value in asdict(current).items()}:
        earlier = _repeated(registered, form, actor)
        if earlier is not None:
            return earlier
        raise _overtaken(registered, form)
    known = evidence(records, registered)[form.action]
    if form.evidence != known:
        raise ProblemError(
            409,
            "The evidence has changed",
            "Since you opened the page a newer drift report or evaluation has come in. Nothing was "
            "decided. Look at the Overview again, then decide.",
        )
    try:
        return _act(records, form, registered, known, actor)
    except RegistryConflict:
        registered = records.registered()
        earlier = _repeated(registered, form, actor)
        if earlier is not None:
            return earlier
        raise _overtaken(registered, form) from None
    except ArtifactError:
        raise ProblemError(
            409,
            "The model is not whole",
            "A file of that version is missing or was changed, so it cannot serve. Nothing was "
            "decided. Restore the registry, or choose another version.",
        ) from None


def _act(
    records: Records,
    form: Form,
    registered: Registered,
    known: Mapping[str, str],
    actor: str,
) -> Decision | None:
    registry, waiting = records.registry, registered.waiting
    now = records.now().astimezone(UTC).isoformat(timespec="seconds")
    production = registered.channels.production
    if form.action in (PROMOTE, REJECT) and waiting is None:
        raise ProblemError(409, "Nothing waits", "There is no candidate that waits for a decision.")
    match form.action:
        case "promote":
            assert waiting is not None
            return registry.promote(
                waiting.number,
                production,
                reason=form.reason,
                actor=actor,
                time=now,
                evidence=known,
                taken_back=registered.channels.taken_back,
            )
        case "reject":
            assert waiting is not None
            return registry.reject(
                waiting.number, reason=form.reason, actor=actor, time=now, evidence=known
            )
        case "snooze":
            return registry.snooze(
                form.until, reason=form.reason, actor=actor, time=now, evidence=known
            )
        case "retrain":
            return registry.ask_retraining(
                reason=form.reason, actor=actor, time=now, evidence=known
            )
        case _:
            if production is None:
                raise ProblemError(409, "Nothing serves", "There is nothing to roll back.")
            return registry.rollback(
                reason=form.reason,
                actor=actor,
                time=now,
                expected_current=production,
                evidence=known,
            )


def _repeated(registered: Registered, form: Form, actor: str) -> Decision | None:
    """The decision that this very form has made before: the first after the state it was made for."""
    decided = form.seen["decided"]
    if not decided.isascii() or not decided.isdecimal() or len(decided) > 9:
        return None
    number = int(decided) + 1
    made = next((one for one in registered.decisions if one.number == number), None)
    if made is None or (made.action, made.reason, made.actor) != (form.action, form.reason, actor):
        return None
    if made.action == SNOOZE and made.until != form.until:
        return None
    return made if _spell(made.previous) == form.seen["production"] else None


def _overtaken(registered: Registered, form: Form) -> ProblemError:
    newest = registered.decisions[-1] if registered.decisions else None
    since = ""
    if newest is not None:
        about = "" if newest.version is None else f" of version {newest.version}"
        since = f" The newest decision is number {newest.number}: {newest.action}{about}."
    return ProblemError(
        409,
        "Somebody has decided meanwhile",
        f"The page you decided on is no longer how things are, so nothing was decided.{since} Look at "
        "the decisions, then decide again.",
    )


def _moment(until: str, now: datetime) -> str:
    try:
        found = datetime.fromisoformat(until)
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ProblemError(
            400,
            "The date is missing",
            "Say until when drift is to be let be, such as 2026-01-31 09:00.",
        ) from None
    if found <= now:
        raise ProblemError(400, "The date has passed", "Choose a moment in the future, in UTC.")
    return found.isoformat(timespec="seconds")


def _spell(value: int | None) -> str:
    return "" if value is None else str(value)
