"""Keep the figures of a run as a page and as JSON: what `docs/results/` is made of.

    .venv/bin/python benchmarks/record_run.py SUMMARY FOLDER "TITLE" "COMMAND"

SUMMARY is a run's `summary.json`, FOLDER for example `docs/results/toys/run`, COMMAND
what made the run.
"""

import json
import sys
from pathlib import Path
from typing import Any

KEPT = (
    "data",
    "users_evaluated",
    "models",
    "comparisons",
    "student_over_teacher",
    "gates",
    "seconds",
)
RATIOS = {
    "epoch": "an epoch of training",
    "layers_batch1": "layers, one user",
    "layers_batch": "layers, a batch",
    "request_batch1": "whole top-10 request, one user",
    "request_batch": "whole top-10 request, a batch",
}


def page(title: str, summary: dict[str, Any], command: str) -> str:
    """The figures as Markdown."""
    data = summary["data"]
    lines = [
        f"# {title}",
        "",
        f"{data['users']:,} users, {data['items']:,} items, {data['interactions']:,} interactions; "
        f"{summary['users_evaluated']:,} test users, the whole catalogue ranked, seen items left out, "
        "95 % intervals of a bootstrap over users. One seed, one run.",
        "",
        "```",
        command,
        "```",
        "",
        "| model | backbone | NDCG@10 | 95 % | HR@10 | s an epoch | p50 ms | users/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model in summary["models"]:
        ndcg, hr = model["metrics"]["ndcg@10"], model["metrics"]["hr@10"]
        epoch, wait = model.get("epoch_seconds"), model["latency_ms"]["batch1_p50"]
        rate = model["users_per_second"]
        lines.append(
            f"| {model['name']} | {model['parameters_backbone']:,} | {ndcg['value']:.4f} "
            f"| {ndcg['ci95'][0]:.4f} – {ndcg['ci95'][1]:.4f} | {hr['value']:.4f} "
            f"| {f'{epoch:.1f}' if epoch else ''} | {'' if wait is None else f'{wait:.2f}'} "
            f"| {'' if rate is None else f'{rate:,.0f}'} |"
        )
    lines += ["", "| student against teacher | times as fast |", "|---|---|"]
    for key, words in RATIOS.items():
        ratio = summary["student_over_teacher"].get(key)
        lines.append(f"| {words} | {'–' if ratio is None else f'{ratio:.1f}'} |")
    lines += ["", "| NDCG@10 | less that of | difference | 95 % |", "|---|---|---|---|"]
    for found in summary["comparisons"]:
        if found["a"] in ("teacher", "student") and found["metric"] == "ndcg@10":
            low, high = found["ci95"]
            lines.append(
                f"| {found['a']} | {found['b']} | {found['difference']:+.4f} "
                f"| {low:+.4f} – {high:+.4f} |"
            )
    slowest = sorted(summary["steps"], key=lambda step: -(step["seconds"] or 0))[:6]
    times = ", ".join(f"{step['name']} {step['seconds']:.0f} s" for step in slowest)
    peak = max(step["peak_rss_mb"] or 0 for step in summary["steps"])
    lines += [
        "",
        f"{summary['seconds']:.0f} s in all ({times}); at most {peak:,.0f} MB a step.",
        "",
    ]
    return "\n".join(lines)


def main(source: str, folder: str, title: str, command: str) -> None:
    """Write `README.md` and `results.json`."""
    summary = json.loads(Path(source).read_text(encoding="utf-8"))
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    kept = {key: summary[key] for key in KEPT}
    text = json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False)
    (place / "results.json").write_text(text + "\n", encoding="utf-8")
    (place / "README.md").write_text(page(title, summary, command), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
