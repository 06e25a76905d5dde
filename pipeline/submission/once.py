"""One run for one reason: first it is entered in the registry, then it is started."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pipeline.submission.bundle import NAME
from pipeline.submission.target import Target
from pipeline.submission.transport import UnansweredError
from slmrec.artifacts import canonical_json, digest_text
from slmrec.errors import SlmrecError
from slmrec.registry.versions import ATTEMPTS
from slmrec.triggers.ledger import CLAIM_TIME, Ledger, StartedRun, Triggers
from slmrec.triggers.reasons import Facts, Reason, SeenSource, reasons


@dataclass(frozen=True)
class Verdict:
    """What the reasons come to, beside the runs that were started for some of them."""

    reasons: tuple[Reason, ...]
    answers: dict[str, StartedRun]
    """By the name of a reason that holds: the run that was started for it before."""

    @property
    def fresh(self) -> dict[str, str]:
        """Name and key of each reason that holds and that no run was started for."""
        holding = (reason for reason in self.reasons if reason.holds)
        return {one.name: one.key for one in holding if one.name not in self.answers}

    @property
    def run_name(self) -> str:
        """The name that a run for these reasons has wherever it is started."""
        return f"{NAME}-trigger-{digest_text(canonical_json(sorted(self.fresh.values())))[:20]}"


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    verdict: Verdict
    made: dict[str, Any] | None = None
    """What the service says of the run; None where there was no reason to start one."""
    submitted: bool = False
    """Whether it was started here and now, not found."""


def judge(ledger: Ledger, facts: Facts) -> Verdict:
    """Judge the reasons, and look up which of them a run was started for."""
    last = next((run for run in reversed(ledger.runs) if run.files is not None), None)
    if last is not None:
        seen = SeenSource(f"run {last.name} was started", last.source_digest, last.files)
        facts = replace(facts, seen=(*facts.seen, seen))
    judged = reasons(facts)
    runs = {reason.name: ledger.answer(reason.key) for reason in judged if reason.holds}
    return Verdict(judged, {name: run for name, run in runs.items() if run is not None})


def start_once(
    triggers: Triggers, target: Target, facts: Facts, start: Callable[[str], dict[str, Any]]
) -> Outcome:
    """Start a run where a reason holds that none was started for; of several callers one does.

    `start` submits a run of a name. Raises what it and the registry raise; where the run cannot be
    there its entry is taken back, so that the next caller may start it. Where it may be, the entry
    stands until `CLAIM_TIME` is over, and the next caller then looks for the run first.
    """
    for _ in range(ATTEMPTS):
        ledger = triggers.read()
        abandoned = ledger.abandoned(facts.now)
        if abandoned:
            triggers.replace(_settled(ledger, abandoned, target))
            continue
        verdict = judge(ledger, facts)
        if not verdict.fresh:
            return Outcome(verdict)
        run = StartedRun(
            verdict.run_name,
            verdict.fresh,
            facts.now.isoformat(),
            "" if facts.source is None else facts.source.digest,
            None if facts.source is None else facts.source.files,
        )
        if triggers.replace(ledger.entered(run)):
            return _start(triggers, target, start, verdict, run)
    raise triggers.conflict()


def _start(
    triggers: Triggers,
    target: Target,
    start: Callable[[str], dict[str, Any]],
    verdict: Verdict,
    run: StartedRun,
) -> Outcome:
    try:
        made = target.find_run(run.name) or start(run.name)
    except UnansweredError as error:
        minutes = CLAIM_TIME.total_seconds() / 60
        raise type(error)(
            f"{error}; 'trigger' looks for run {run.name} and starts it where it is not there, "
            f"{minutes:.0f} minutes from now at the earliest"
        ) from error
    except SlmrecError:
        triggers.change(lambda ledger: ledger.without(run))
        raise
    there = replace(run, id=made["run"], link=made["link"])
    try:
        triggers.change(lambda ledger: ledger.started(there))
    except SlmrecError as error:
        raise type(error)(f"{error}; run {made['run']} is started and will be found") from error
    return Outcome(verdict, made, submitted=made.get("started", False))


def _settled(ledger: Ledger, abandoned: list[StartedRun], target: Target) -> Ledger:
    """Whoever entered these runs is gone: keep those that are there."""
    for run in abandoned:
        found = target.find_run(run.name)
        ledger = (
            ledger.without(run)
            if found is None
            else ledger.started(replace(run, id=found["run"], link=found["link"]))
        )
    return ledger
