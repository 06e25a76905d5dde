"""The first page: is it still right, what changed, and what is to be done."""

from collections.abc import Mapping
from typing import Any

from slmrec.dashboard.pages.drift import causes, followed
from slmrec.dashboard.pages.view import Arguments, View
from slmrec.dashboard.records import Records, Registered
from slmrec.dashboard.rendering import Page
from slmrec.dashboard.runs import Run
from slmrec.dashboard.values import pick, text

MEANINGS = {
    "stable": "Yes, as far as the newest data tell: nothing differs by enough to matter.",
    "watch": "Probably: the newest window differs, the one before it did not in the same way.",
    "drift": "Not for certain: the data have moved away from what the model knows, in two "
    "windows in a row.",
    "not enough data": "Unknown: there are too few data to tell.",
}


def build(records: Records, arguments: Arguments) -> Page:
    """Everything that a decision needs, on one page."""
    runs = records.runs.all()
    newest = next((run for run in runs if run.summary), None)
    registered = records.registered()
    drift = records.drift(newest) if newest else None
    summary = newest.summary if newest else None
    verdict = summary.verdict if summary else ""
    candidate = candidate_facts(records, registered)
    alarms = list(summary.alarms) if summary else []
    gone = newest is not None and bool(verdict) and drift is None
    data: dict[str, Any] = {
        "verdict": verdict or None,
        "meaning": MEANINGS.get(verdict, "Unknown: no run has looked for drift yet."),
        "reason": text(drift.content, "reason") if drift else "",
        "causes": causes(drift.content.get("alarms") if drift else alarms),
        "drift_digest": drift.digest if drift else None,
        "drift_gone": gone,
        "followed": followed(records),
        "run": None
        if newest is None or summary is None
        else {
            "run_id": newest.run_id,
            "slug": newest.slug,
            "started": summary.started,
            "age_seconds": records.age_of(summary.started),
            "retrained": summary.retrained,
            "reason": summary.reason,
            "promotion": summary.promotion,
        },
        "unfinished": unfinished(records, runs),
        "production": _production(records, registered),
        "candidate": candidate,
        "freshness": {
            "newest_interaction": pick(summary.data, "last", of=float) if summary else None,
            "age_seconds": records.age(pick(summary.data, "last", of=float)) if summary else None,
        },
        **openings(records, registered),
    }
    data["advice"] = advise(data)
    return Page("Overview", "Overview", "overview.html", data)


def unfinished(records: Records, runs: list[Run]) -> dict[str, Any] | None:
    """The newest run where it has left no summary."""
    if not runs or runs[0].summary is not None:
        return None
    failure = records.runs.failure(runs[0])
    return {
        "run_id": runs[0].run_id,
        "slug": runs[0].slug,
        "failed_step": failure[0] if failure else None,
    }


def openings(records: Records, registered: Registered) -> dict[str, Any]:
    """A request to train and a snooze that hold now."""
    channels = registered.channels
    snooze = channels.snoozed(records.now())
    request = channels.request
    return {
        "request": None
        if request is None
        else {"number": request.number, "by": request.actor, "reason": request.reason},
        "snooze": None
        if snooze is None
        else {
            "number": snooze.number,
            "by": snooze.actor,
            "reason": snooze.reason,
            "until": snooze.until,
        },
    }


def candidate_facts(records: Records, registered: Registered) -> dict[str, Any] | None:
    """The version that waits for a person, with its gates."""
    waiting = registered.waiting
    if waiting is None:
        return None
    found = records.gates(waiting.number)
    gates = [] if found is None else pick(found[1], "gates", of=list) or []
    refused = [text(gate, "name") for gate in gates if pick(gate, "passed", of=bool) is False]
    return {
        "number": waiting.number,
        "name": waiting.name,
        "added": waiting.added,
        "figures": records.figures(waiting),
        "gates": gates,
        "refused": refused,
        "evaluation_digest": waiting.evaluation_digest,
    }


def advise(data: Mapping[str, Any]) -> dict[str, str]:
    """What there is to do, in a few words, and why."""
    candidate, verdict = data["candidate"], data["verdict"]
    if data["run"] is None and data["unfinished"] is not None:
        return {
            "do": "Look at the run that has not ended well, and run the pipeline again",
            "why": "no run has ended yet, so there is nothing to judge",
        }
    if data["run"] is None:
        return {
            "do": "Run the pipeline",
            "why": "nothing has run yet, so there is nothing to judge",
        }
    if candidate is not None:
        name = f"version {candidate['number']}"
        if candidate["refused"]:
            names = ", ".join(candidate["refused"])
            return {
                "do": f"Reject {name}, or approve it against its gates",
                "why": f"it waits, and these gates refused it: {names}",
            }
        if candidate["gates"]:
            return {
                "do": f"Approve or reject {name}",
                "why": "it passed all gates and waits for you",
            }
        return {
            "do": f"Look at {name}",
            "why": "it waits, and what its gates found is no longer there",
        }
    if data["request"] is not None:
        return {"do": "Wait", "why": "the next run trains, as somebody has asked"}
    if verdict == "drift":
        if data["run"]["retrained"]:
            return {
                "do": "Wait for the next run",
                "why": "this run trained on the new data, so the next one tells whether that helped",
            }
        if data["snooze"] is not None:
            return {"do": "Wait", "why": f"drift is snoozed until {data['snooze']['until']}"}
        return {
            "do": "Ask for training, or snooze",
            "why": "the data have moved and no new model waits; snooze where the change will pass",
        }
    if verdict == "watch":
        return {"do": "Wait", "why": "one window alone may be chance; the next run knows more"}
    if verdict == "stable":
        return {"do": "Nothing", "why": "no statistic has moved by enough to matter"}
    return {"do": "Wait for more data", "why": "there is too little to judge by"}


def _production(records: Records, registered: Registered) -> dict[str, Any] | None:
    version = registered.production
    if version is None:
        return None
    return {
        "number": version.number,
        "name": version.name,
        "added": version.added,
        "added_age_seconds": records.age_of(version.added),
        "data_last": version.data.newest,
        "data_age_seconds": records.age(version.data.newest),
        "figures": records.figures(version),
        "way_back": registered.channels.way_back()[:1],
    }


VIEWS = (View((), build),)
