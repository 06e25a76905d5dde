"""Homes as runs leave them, small and with whatever titles, ids and reasons a test wants."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.registry.store import Registry
from slmrec.registry.versions import DataFacts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAST = int(datetime(2026, 2, 27, tzinfo=UTC).timestamp())
NAMES = ("item_popularity", "new_item_share", "user_state_shift")
FAMILIES = {"user_state_shift": "embeddings"}


def statistic(name: str, effect: float, said: str) -> dict[str, object]:
    return {
        "name": name,
        "family": FAMILIES.get(name, "data"),
        "reference": 0.1,
        "current": 0.1 + effect,
        "effect": effect,
        "p": 0.001,
        "threshold": 0.05,
        "alarm": effect >= 0.05,
        "sentence": said,
        "touched_share": effect,
    }


def drift(effect: float, words: Sequence[str]) -> dict[str, object]:
    """A report whose first two statistics have such an effect; the second touches more traffic."""
    named = [*NAMES, *(word for word in words if word != "plain")]
    statistics = [
        statistic(name, effect * (1 + place % 2), words[place % len(words)])
        for place, name in enumerate(named)
    ]
    side = {"users": 9, "enough_users": True, "value": 0.25, "ci95": [0.125, 0.5]}
    window = {"first": LAST - 86_400, "last": LAST, "interactions": 1000, "users": 100}
    return {
        "verdict": "drift" if effect >= 0.05 else "stable",
        "reason": f"because {words[0]}",
        "alarms": sorted(
            (row for row in statistics if row["alarm"]), key=lambda row: -row["touched_share"]
        ),
        "statistics": statistics,
        "windows": {"current": window, "reference": window},
        "history": [
            {"current": window, "reference": window, "statistics": statistics} for _ in range(3)
        ],
        "moved_items": [
            {"item_id": word, "title": word, "before": 0.01, "after": 0.02} for word in words
        ],
        "segments": [
            {"kind": word, "name": word, "reference": side, "current": {**side, "users": 7}}
            for word in words
        ],
        "example_lists": [
            {"user": word, "before": [word, "Alien"], "after": [word, "Brazil"], "shared": 0.5}
            for word in words
        ],
    }


def make_home(
    home: Path, words: Sequence[str] = ("plain",), runs: int = 2, *, candidate: bool = True
) -> Registry:
    """Runs a day apart, three versions of which the second serves and the third waits.

    Every text that a source, a step or a person may have written holds one of the words.
    """
    for number in range(runs):
        make_run(home, words, number, effect=0.1 if number == runs - 1 else 0.0, version=3)
    registry = Registry(home / "registry")
    for number in (1, 2, 3):
        add_version(registry, home / "made" / str(number), words[number % len(words)], number)
    said = {"actor": words[0], "time": (NOW - timedelta(days=2)).isoformat(timespec="seconds")}
    registry.promote(1, None, reason=words[0], **said)
    registry.promote(2, 1, reason=words[-1], **said, evidence={words[0]: words[-1]})
    for word in words[1:]:
        registry.refuse(None, reason=word, actor=word, time=said["time"], evidence={})
    if candidate:
        registry.propose(3, reason="candidate of a run", **said)
    return registry


def add_version(registry: Registry, folder: Path, name: str, number: int) -> None:
    with publish(folder / "model", "servable", properties={"name": name}) as staging:
        write_json(staging / "content.json", number)
    value = {"value": 0.2 + number / 100, "ci95": [0.2, 0.3]}
    model = {"name": name, "bytes": 1_500_000 * number, "metrics": {"ndcg@10": value}}
    segments = [{"kind": name, "name": name, "users": 9, "models": {name: value}}]
    compared = {"a": name, "b": "production", "metric": "ndcg@10", "p": 0.01}
    metrics = {
        "users": 700,
        "models": [model],
        "segments": segments,
        "production": "2" if number == 3 else "",
        "comparisons": [{**compared, "difference": 0.01, "ci95": [0.005, 0.015]}],
    }
    with publish(folder / "evaluation", "evaluation") as staging:
        write_json(staging / "metrics.json", metrics)
    with publish(folder / "timings", "timings") as staging:
        timing = {"batch1_p50": 0.4 / number, "batch1_p95": 1.0, "users_per_second": 1000.0}
        write_json(staging / "timings.json", {name: timing})
        (staging / "report.html").write_text(f"<!doctype html><h1>Evaluation {number}</h1>")
        (staging / "card.md").write_text(f"# {name}\n")
    registry.add(
        *(open_artifact(folder / part) for part in ("model", "evaluation", "timings")),
        DataFacts(name, 1000 * number, LAST),
        code_digest="code",
        settings_digest="settings",
        time=(NOW - timedelta(days=3)).isoformat(timespec="seconds"),
    )


def make_run(
    home: Path,
    words: Sequence[str],
    number: int,
    *,
    effect: float = 0.0,
    version: int | None = None,
) -> Path:
    """One run with the artifacts that the dashboard reads; returns its folder."""
    run_id = f"2026{number:04d}-120000"
    folder = home / "cache" / "artifacts" / run_id
    word = words[number % len(words)]
    with publish(folder / "log", "interactions") as staging:
        card = {
            "rows_in": 1010,
            "kept": 1000,
            "quarantined": len(words),
            "quarantine_reasons": dict.fromkeys(words, 1),
            "first": LAST - 10**7,
            "last": LAST,
            "time_format": word,
        }
        write_json(staging / "card.json", card)
        rows = {"file": words, "line": range(len(words)), "reason": words, "text": words}
        pl.DataFrame({key: list(value) for key, value in rows.items()}).write_parquet(
            staging / "quarantine.parquet"
        )
    log = open_artifact(folder / "log")
    checks = [
        {
            "suite": one,
            "expectation": one,
            "column": one,
            "expected": one,
            "observed": one,
            "success": place > 0,
            "rows": 1000,
            "unexpected": 3,
            "examples": [one],
            "notes": one,
        }
        for place, one in enumerate(words)
    ]
    with publish(folder / "verdict", "validation", inputs={"interactions": log}) as staging:
        write_json(staging / "validation.json", {"success": False, "checks": checks, "card": card})
        (staging / "validation.html").write_text("<!doctype html><h1>Validation</h1>")
    with publish(folder / "sequences", "sequences", inputs={"interactions": log}) as staging:
        write_json(staging / "card.json", {"users": 100, "items": 50, "checks": list(words)})
    sequences = open_artifact(folder / "sequences")
    found = drift(effect, words)
    with publish(folder / "report", "drift_report", inputs={"sequences": sequences}) as staging:
        write_json(staging / "drift.json", found)
        (staging / "report.html").write_text("<!doctype html><h1>Drift</h1>")
        (staging / "evidently.html").write_text(
            "<!doctype html><h1>E</h1><script>document.title='ran'</script>"
        )
    gate = {
        "name": word,
        "passed": True,
        "found": word,
        "required": word,
        "evidence": word,
    }
    with publish(folder / "promotion", "promotion", inputs={"sequences": sequences}) as staging:
        write_json(
            staging / "promotion.json", {"gates": [gate], "version": version, "reason": word}
        )
    ports = {
        "ingest_interactions.log": "log",
        "validate_data.verdict": "verdict",
        "build_sequences.sequences": "sequences",
        "monitor_drift.report": "report",
        "promote_model.promotion": "promotion",
    }
    steps = [
        {
            "name": port.partition(".")[0],
            "seconds": 1.5,
            "cached": number > 0 and port.startswith("ingest"),
            "peak_rss_mb": 100.0,
            "headline": word,
        }
        for port in ports
    ]
    value = {"value": 0.3, "ci95": [0.2, 0.4]}
    summary = {
        "run_id": run_id,
        "started": (NOW - timedelta(days=1, minutes=number)).isoformat(timespec="seconds"),
        "seconds": 60.0,
        "data": {"first": LAST - 10**7, "last": LAST, "users": 100, "digest": word},
        "steps": steps,
        "retrained": True,
        "models": [{"name": word, "bytes": 10, "candidate": True, "metrics": {"ndcg@10": value}}],
        "drift": {"verdict": found["verdict"], "alarms": found["alarms"]},
        "decision": {"retrain": True, "reason": word},
        "gates": [gate],
        "promoted": None,
        "promotion": word,
        "code_digest": "c0de",
        "places": {"run": "x", **{port: str(folder / name) for port, name in ports.items()}},
    }
    run = home / "runs" / run_id
    run.mkdir(parents=True)
    write_json(run / "summary.json", summary)
    (run / "pipeline.yaml").write_text(GRAPH)
    return run


GRAPH = """
components:
  comp-a: {executorLabel: a}
  comp-loop:
    dag: {tasks: {promote-model: {componentRef: {name: comp-a}}}}
root:
  dag:
    tasks:
      ingest-interactions: {componentRef: {name: comp-a}}
      validate-data: {componentRef: {name: comp-a}, dependentTasks: [ingest-interactions]}
      build-sequences:
        {componentRef: {name: comp-a}, dependentTasks: [ingest-interactions, validate-data]}
      monitor-drift: {componentRef: {name: comp-a}, dependentTasks: [build-sequences]}
      loop: {componentRef: {name: comp-loop}, dependentTasks: [monitor-drift]}
"""

PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'>",
    "javascript:alert(1)",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<style>@import 'http://evil.example/x.css'</style>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<base href=http://evil.example/>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "{{7*7}}{% raw %}",
    "${7*7}<%= 7*7 %>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u202etxt.exe\u202c\u2028\u0000\u0007",
    "../../../../etc/passwd",
    "a/b?c#d&e=f;g",
    "<" * 60 + "x" * 3000,
    "=cmd|'/c calc'!A1",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16") + "<b>bold</b>",
)
"""Titles, ids and reasons that somebody hostile would write."""
