"""`python -m pipeline trigger`: one run if there is a reason for one, for use in CI."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipeline.submission import options
from pipeline.submission.groups import grouped
from pipeline.terminal import print_json, table_console
from slmrec.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.submission.once import Outcome
    from slmrec.triggers.ledger import StartedRun

_MARKS = {True: "yes", False: "no", None: "unknown"}


@grouped
def trigger(
    connection: options.Connection,
    work: options.Work,
    reason: Annotated[
        str,
        typer.Option(
            help="With --force: why. The same reason on the same data, code and settings starts one "
            "run; another one starts another."
        ),
    ] = "",
    min_change: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Share of the source's bytes that has to be new or gone since the last training; "
            "default: decide_retraining.min_new_share.",
        ),
    ] = None,
    summary: Annotated[
        str,
        typer.Option(help="summary.json of the last run, a path or gs://…: what it says of drift."),
    ] = "",
    dry_run: options.Dry = False,
    as_json: options.AsJson = False,
) -> None:
    """Start a run if there is a reason for one, and say which, or why there is none.

    Reasons: --force; nothing serves yet; a person asks for training ('registry retrain'); a run found
    drift and did not train; enough of the data, the code, or the settings changed since the last
    training. 'registry snooze' keeps drift and data from being reasons. One reason starts one run,
    however often and from wherever this is called: which ones were started stands in the registry.
    Whether the run then trains it decides itself, once it has read the data.

    Exit code 0 whether a run was started or not; --json says it as 'submitted'.

    Example: python -m pipeline trigger --target kfp --host http://localhost:8080 --min-change 0.1
    --interactions gs://shop/log/ --registry gs://shop/models --image ghcr.io/shop/slmrec@sha256:…
    """
    from pipeline.submission.evidence import gather, reachable
    from pipeline.submission.once import Outcome, judge, start_once
    from pipeline.submission.prepare import bundle_for, warn_of_tag
    from pipeline.submission.transport import DryRun
    from slmrec.triggers.ledger import Triggers

    forced = reason.strip()
    if work.force and not forced:
        raise ConfigError(
            "--reason: missing; say why with --force, since one reason starts one run"
        )
    if forced and not work.force:
        raise ConfigError("--reason: only with --force; add that, or leave it out")
    now = datetime.now(UTC)
    bundle = bundle_for(connection.to, work, now.isoformat(timespec="seconds"))
    dry = DryRun() if dry_run else None
    target = connection.target(work.staging, dry)
    warn_of_tag(work.image)
    documents = reachable(work.registry)
    facts = gather(
        documents,
        work,
        bundle,
        now=now,
        forced=forced,
        min_change=min_change,
        summary=summary,
    )

    def start(name: str) -> dict[str, Any]:
        return target.submit(bundle, work.job(name))

    triggers = Triggers(documents)
    if dry is not None:
        verdict = judge(triggers.read(), facts)
        if verdict.fresh:
            target.find_run(verdict.run_name)
            start(verdict.run_name)
        print_json({**_told(Outcome(verdict)), "requests": dry.requests})
        return
    outcome = start_once(triggers, target, facts, start)
    if as_json:
        print_json(_told(outcome))
    else:
        _print(outcome)


def _conclusion(outcome: "Outcome") -> str:
    """What came of it in a line."""
    verdict = outcome.verdict
    names = ", ".join(verdict.fresh)
    if outcome.submitted:
        return f"started run {verdict.run_name}: {names}"
    if outcome.made is not None:
        return f"run {verdict.run_name} was started already: {names}"
    if verdict.fresh:
        return f"would start run {verdict.run_name}: {names}"
    if verdict.answers:
        return f"no run is started: {', '.join(verdict.answers)} already had one"
    return "no run is started: there is no reason for one"


def _told(outcome: "Outcome") -> dict[str, Any]:
    """The outcome as JSON."""
    verdict = outcome.verdict
    return {
        "submitted": outcome.submitted,
        "conclusion": _conclusion(outcome),
        "run": verdict.run_name if verdict.fresh else None,
        "reasons": [
            {
                "name": reason.name,
                "holds": reason.holds,
                "why": reason.why,
                "started": _answer(verdict.answers.get(reason.name)),
            }
            for reason in verdict.reasons
        ],
        "made": outcome.made,
    }


def _answer(run: "StartedRun | None") -> dict[str, str] | None:
    if run is None:
        return None
    return {"run": run.name, "time": run.time, "id": run.id, "link": run.link}


def _print(outcome: "Outcome") -> None:
    verdict = outcome.verdict
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("reason", "holds", "why"):
        table.add_column(heading, overflow="fold")
    for reason in verdict.reasons:
        run = verdict.answers.get(reason.name)
        why = Text(reason.why)
        if run is not None:
            place = f"run {run.name}" if run.id else f"run {run.name}, which is being started"
            why.append(f"; for it {place} ({run.time[:16]})")
        style = "bold" if reason.name in verdict.fresh else ""
        table.add_row(reason.name, _MARKS[reason.holds], why, style=style)
    console = table_console()
    console.print(table)
    console.print(_conclusion(outcome), soft_wrap=True)
    if outcome.made is not None:
        console.print(f"{outcome.made['run']}\n{outcome.made['link']}", soft_wrap=True)
