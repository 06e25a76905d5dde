"""Models: every version, what it costs and how good it is, and two of them side by side."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from slmrec.dashboard.pages.view import Arguments, PageMissingError, View, numbered
from slmrec.dashboard.plots import Spot, costs_svg
from slmrec.dashboard.records import Records, Registered, ci95, interval
from slmrec.dashboard.rendering import Page
from slmrec.dashboard.values import pick, rows, text
from slmrec.errors import ArtifactError
from slmrec.registry.versions import Version

_MOST = 10**9
LISTED = 200
"""Versions on the first page, the newest."""
FIGURES = (
    ("ndcg@10", "NDCG@10", ".4f", "more"),
    ("hr@10", "HR@10", ".4f", "more"),
    ("bytes", "bytes", ",.0f", "less"),
    ("batch1_p50_ms", "one request, median ms", ".3f", "less"),
    ("batch1_p95_ms", "one request, 95th percentile ms", ".3f", "less"),
    ("users_per_second", "users a second", ",.0f", "more"),
    ("coverage", "share of the catalogue in lists", ".3f", ""),
    ("novelty", "novelty, bits", ".2f", ""),
)


def build(records: Records, arguments: Arguments) -> Page:
    """The table and the plot."""
    registered = records.registered()
    newest = list(registered.versions.values())[: -LISTED - 1 : -1]
    versions = [_row(records, registered, version) for version in newest]
    spots = []
    for row in versions:
        ndcg, cost = row["figures"]["ndcg@10"], row["figures"]["batch1_p50_ms"]
        if ndcg["value"] is not None and cost is not None:
            low, high = ndcg["ci95"] or [ndcg["value"]] * 2
            word = f"{row['number']} {row['name']}"
            spots.append(Spot(word, cost, ndcg["value"], low, high, row["role"] == "production"))
    drawn = costs_svg(spots)
    data = {
        "versions": versions,
        "more": len(registered.versions) - len(versions),
        "production": registered.channels.production,
        "candidate": registered.channels.candidate,
    }
    return Page("Models", "Models", "models.html", data, {"costs": drawn} if drawn else {})


def build_version(records: Records, arguments: Arguments) -> Page:
    """One version with all its evidence."""
    registered = records.registered()
    version = _find(registered, arguments, "version")
    found = records.gates(version.number)
    metrics = records.metrics(version)
    timings = records.timings(version.number)
    figures: dict[str, str] = {}
    card = ""
    if timings is not None:
        for name in ("quality.svg", "cost.svg"):
            if name in timings.files:
                figures[name] = timings.file(name).read_text(encoding="utf-8", errors="replace")
        if "card.md" in timings.files:
            card = timings.file("card.md").read_text(encoding="utf-8", errors="replace")
    numbers = list(registered.versions)
    data = {
        **_row(records, registered, version),
        "run": None if found is None else {"run_id": found[0].run_id, "slug": found[0].slug},
        "gates": [] if found is None else rows(found[1], "gates"),
        "gates_reason": "" if found is None else text(found[1], "reason"),
        "evidence": {
            "model": version.model_digest,
            "evaluation": version.evaluation_digest,
            "sequences": version.data.sequences_digest,
            "source": version.data.source_digest,
            "code": version.code_digest,
            "settings": version.settings_digest,
        },
        "segments": _segments(metrics, version.name),
        "comparisons": [
            one
            for one in rows(metrics, "comparisons")
            if version.name in (one.get("a"), one.get("b"))
        ][:40],
        "decisions": [asdict(one) for one in registered.decisions if one.version == version.number][
            ::-1
        ][:50],
        "card": card,
        "report": timings is not None and "report.html" in timings.files,
        "others": [number for number in numbers[::-1] if number != version.number][:20],
    }
    return Page(f"Version {version.number}", "Models", "version.html", data, figures)


def build_report(records: Records, arguments: Arguments) -> Page:
    """The evaluation's page in a frame of its own."""
    version = _find(records.registered(), arguments, "version")
    if records.timings(version.number) is None:
        raise PageMissingError("the evaluation report of this version is gone")
    data = {
        "version": version.number,
        "scripts": False,
        "address": ["models", str(version.number), "reports", "evaluation"],
    }
    return Page(f"Evaluation of version {version.number}", "Models", "framed.html", data)


def build_comparison(records: Records, arguments: Arguments) -> Page:
    """Two versions side by side."""
    registered = records.registered()
    one, other = (_find(registered, arguments, name) for name in ("one", "other"))
    rows_ = []
    paired = _paired(records, one, other)
    first, second = records.figures(one), records.figures(other)
    for key, label, form, better in FIGURES:
        a, b = (_value(figures[key]) for figures in (first, second))
        change = None if a is None or b is None else b - a
        same_users = paired is not None and paired["metric"] == key
        if paired is not None and same_users:  # their own evaluations are of different people
            change = paired["difference"]
        judged = _judged(key, change, better, (first[key], second[key]), paired)
        rows_.append(
            {
                "name": label,
                "one": a,
                "other": b,
                "one_ci95": _ends(first[key]),
                "other_ci95": _ends(second[key]),
                "change": change,
                "form": form,
                "judged": judged,
                "same_users": same_users,
            }
        )
    data = {
        "one": _row(records, registered, one),
        "other": _row(records, registered, other),
        "rows": rows_,
        "differing": [
            {"name": name, "one": value, "other": asdict(other)[name]}
            for name, value in asdict(one).items()
            if name not in ("data", "number") and value != asdict(other)[name]
        ],
        "data_rows": [
            {"name": name, "one": value, "other": asdict(other.data)[name]}
            for name, value in asdict(one.data).items()
        ],
        "paired": paired,
        "same_users": one.data.sequences_digest == other.data.sequences_digest,
    }
    title = f"Version {one.number} and version {other.number}"
    return Page(title, "Models", "comparison.html", data)


def _find(registered: Registered, arguments: Arguments, name: str) -> Version:
    version = registered.versions.get(numbered(arguments, name, _MOST))
    if version is None:
        raise PageMissingError("there is no such version; a pruning may have removed it")
    return version


def _row(records: Records, registered: Registered, version: Version) -> dict[str, Any]:
    channels, role = registered.channels, ""
    if version.number == channels.production:
        role = "production"
    elif version.number in channels.taken_back:
        role = "taken back"
    elif version.number == channels.candidate:
        role = "candidate"
    return {
        "number": version.number,
        "name": version.name,
        "role": role,
        "added": version.added,
        "interactions": version.data.interactions,
        "last": version.data.newest,
        "order_only": version.data.order_only,
        "figures": records.figures(version),
    }


def _segments(metrics: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Groups of users of an evaluation, in the figures of one model."""
    return [
        {
            "kind": text(segment, "kind"),
            "name": text(segment, "name"),
            "users": pick(segment, "users", of=int),
            "enough_users": pick(segment, "enough_users", of=bool) or False,
            **interval({"metrics": pick(segment, "models", of=dict)}, name),
        }
        for segment in rows(metrics, "segments")
    ]


def _paired(records: Records, one: Version, other: Version) -> dict[str, Any] | None:
    """What the evaluation of either measured of both on the same users, other minus one."""
    for judged, against, sign in ((other, one, 1), (one, other, -1)):
        metrics = records.metrics(judged)
        if text(metrics, "production") != str(against.number):
            continue
        for row in rows(metrics, "comparisons"):
            if row.get("a") == judged.name and row.get("b") == "production":
                difference, ends = pick(row, "difference", of=float), ci95(row)
                if difference is None or ends is None:
                    continue
                return {
                    "metric": text(row, "metric"),
                    "difference": sign * difference,
                    "ci95": sorted(sign * end for end in ends),
                    "p": pick(row, "p", of=float),
                    "judged": judged.number,
                }
    return None


def _judged(
    key: str,
    change: float | None,
    better: str,
    found: tuple[Any, Any],
    paired: Mapping[str, Any] | None,
) -> str:
    """Whether a change is for the better, as far as its intervals tell."""
    if not change or not better:
        return ""
    ends = [_ends(one) for one in found]
    if paired is not None and paired["metric"] == key:
        apart = paired["ci95"][0] > 0 or paired["ci95"][1] < 0
    elif ends[0] is not None and ends[1] is not None:
        apart = ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0]
    else:
        apart = True
    if not apart:
        return "within chance"
    return "better" if (change > 0) == (better == "more") else "worse"


def _value(found: Any) -> float | None:
    return pick(found, "value", of=float) if isinstance(found, dict) else found


def _ends(found: Any) -> list[float] | None:
    return found["ci95"] if isinstance(found, dict) else None


def _versions(records: Records) -> Iterable[Arguments]:
    return [{"version": str(number)} for number in records.registered().versions]


def _pairs(records: Records) -> Iterable[Arguments]:
    registered = records.registered()
    production = registered.channels.production
    return [
        {"one": str(production), "other": str(number)}
        for number in registered.versions
        if production is not None and number != production
    ]


def report_bytes(records: Records, number: int) -> bytes | None:
    """The evaluation report of a version."""
    timings = records.timings(number)
    try:
        return None if timings is None else timings.file("report.html").read_bytes()
    except (ArtifactError, OSError):
        return None


VIEWS = (
    View(("models",), build),
    View(("models", "{version}"), build_version, _versions),
    View(("models", "{version}", "report"), build_report, _versions),
    View(("models", "compare", "{one}", "{other}"), build_comparison, _pairs),
)
