"""Runs: what each did, how long it took, and which artifact was made from which."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from slmrec.dashboard.pages.view import Arguments, PageMissingError, View, numbered, page_count
from slmrec.dashboard.plots import Node, direct, graph_svg, layered
from slmrec.dashboard.records import Records
from slmrec.dashboard.rendering import TEMPLATES, Page
from slmrec.dashboard.runs import Run, Summary
from slmrec.dashboard.values import pick, rows, text
from slmrec.errors import ConfigError
from slmrec.yaml_text import parse_yaml

SHOWN = 50
"""Runs on a page."""
_Edges = list[tuple[str, str]]
_INSTANCE = re.compile(r"\[.*\]$")


def build(records: Records, arguments: Arguments) -> Page:
    """The list, newest first."""
    every = records.runs.all()
    pages = page_count(len(every), SHOWN)
    number = numbered({"page": "1", **arguments}, "page", pages)
    data = {
        "runs": [_row(run) for run in every[(number - 1) * SHOWN : number * SHOWN]],
        "total": len(every),
        "page_number": number,
        "pages": pages,
    }
    title = "Runs" if number == 1 else f"Runs, page {number}"
    return Page(title, "Runs", "runs.html", data)


def build_run(records: Records, arguments: Arguments) -> Page:
    """One run: its steps, its artifacts, its models and its gates."""
    run = records.runs.find(arguments["run"])
    if run is None:
        raise PageMissingError("there is no such run")
    if run.summary is None:
        failure = records.runs.failure(run)
        home = str(records.home.resolve())
        data: dict[str, Any] = {
            "run": _row(run),
            "failed_step": failure[0] if failure else None,
            "message": failure[1].replace(home, "…") if failure else None,
        }
        return Page(f"Run {run.run_id}", "Runs", "unfinished.html", data)
    summary = run.summary
    steps = [
        {
            "name": text(step, "name"),
            "seconds": pick(step, "seconds", of=float),
            "cached": pick(step, "cached", of=bool) or False,
            "peak_rss_mb": pick(step, "peak_rss_mb", of=float),
            "headline": text(step, "headline"),
        }
        for step in map(dict, summary.steps)
    ]
    graph = records.runs.files.get(run.folder / "pipeline.yaml", parse_graph) or ([], [])
    whole = records.runs.whole_summary(run)
    data = {
        "run": _row(run),
        "reason": summary.reason,
        "promotion": summary.promotion,
        "code_digest": summary.code_digest,
        "data": {k: v for k, v in summary.data.items() if not isinstance(v, dict | list)},
        "steps": steps,
        "artifacts": _lineage(records, run),
        "gates": [dict(gate) for gate in summary.gates],
        "models": [_model(row) for row in rows(whole, "models")],
        "has_drift": records.drift(run) is not None,
        "edges": direct(graph[1]),
    }
    drawn = _graph(steps, graph)
    return Page(f"Run {run.run_id}", "Runs", "run.html", data, {"graph": drawn} if drawn else {})


def parse_graph(content: bytes) -> tuple[list[str], _Edges]:
    """Steps and edges of a compiled pipeline, loops and conditions taken apart.

    Raises `ValueError` when it is none.
    """
    try:
        whole = parse_yaml(content.decode("utf-8"), "pipeline.yaml")
    except ConfigError as error:
        raise ValueError("no YAML of ours") from error
    components = pick(whole, "components", of=dict) or {}
    names: list[str] = []
    edges: _Edges = []

    def leaves(dag: Mapping[str, Any], depth: int) -> dict[str, list[str]]:
        """The steps inside each task of a graph; its edges and those inside are noted."""
        tasks = pick(dict(dag), "tasks", of=dict) or {}
        inside: dict[str, list[str]] = {}
        for name, task in tasks.items():
            component = text(task, "componentRef", "name")
            nested = pick(components, component, "dag", of=dict)
            if nested is not None and depth < 8:
                inside[name] = [
                    leaf for found in leaves(nested, depth + 1).values() for leaf in found
                ]
            else:
                inside[name] = [str(name).replace("-", "_")]
                names.append(inside[name][0])
        for name, task in tasks.items():
            for other in pick(task, "dependentTasks", of=list) or []:
                edges.extend((a, b) for a in inside.get(other, []) for b in inside[name])
        return inside

    leaves(pick(whole, "root", "dag", of=dict) or {}, 0)
    if not names:
        raise ValueError("no pipeline")
    return list(dict.fromkeys(names)), list(dict.fromkeys(edges))


def _graph(steps: list[dict[str, Any]], graph: tuple[list[str], _Edges]) -> str:
    names, edges = graph
    if not names:
        return ""
    instances: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        instances.setdefault(_INSTANCE.sub("", step["name"]), []).append(step)
    nodes = {}
    for name in names:
        found = instances.get(name, [])
        seconds = sum(step["seconds"] or 0.0 for step in found)
        cached = sum(step["cached"] for step in found)
        words = [str(TEMPLATES.filters["long"](seconds))]
        words.append(f"in all, {len(found)} times" if len(found) > 1 else "")
        words.append("from the cache" if found and cached == len(found) else "")
        state = "skipped" if not found else "cached" if cached == len(found) else "done"
        note = " ".join(filter(None, words)) if found else "not run"
        nodes[name] = Node(name.replace("_", " "), note, state)
    layers = layered(names, edges)
    spoken = [(a.replace("_", " "), b.replace("_", " ")) for a, b in direct(edges)]
    return graph_svg([[nodes[name] for name in layer] for layer in layers], spoken)


def _lineage(records: Records, run: Run) -> list[dict[str, Any]]:
    """Each artifact of a run, and which others it was made from."""
    assert run.summary is not None
    held = {}
    gone = []
    for port, place in sorted(run.summary.places.items()):
        if "." not in port:
            continue  # the run's folder and the registry
        found = records.runs.shelf.find(place)
        if found is not None:
            held[port] = found.manifest
        elif records.runs.shelf.path(place) is None:
            gone.append(port)
    ports: dict[str, list[str]] = {}
    for port, manifest in held.items():
        ports.setdefault(manifest.digest, []).append(port)
    made = [
        {
            "port": port,
            "kind": manifest.kind,
            "digest": manifest.digest,
            "inputs": [
                {"name": name, "digest": digest, "ports": ports.get(digest, [])}
                for name, digest in sorted(manifest.inputs.items())
            ],
        }
        for port, manifest in held.items()
    ]
    order = {text(dict(step), "name"): place for place, step in enumerate(run.summary.steps)}
    made += [{"port": port, "kind": "", "digest": "", "inputs": []} for port in gone]
    return sorted(made, key=lambda row: order.get(str(row["port"]).rpartition(".")[0], -1))


def _model(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": text(row, "name"),
        "candidate": row.get("candidate") is True,
        "ndcg@10": pick(row, "metrics", "ndcg@10", "value", of=float),
        "bytes": pick(row, "bytes", of=int),
        "batch1_p50_ms": pick(row, "latency_ms", "batch1_p50", of=float),
        "train_seconds": pick(row, "train_seconds", of=float),
    }


def _row(run: Run) -> dict[str, Any]:
    summary = run.summary or Summary("", None, "", (), {}, (), False, "", (), None, "", "")
    return {
        "run_id": run.run_id,
        "slug": run.slug,
        "finished": run.summary is not None,
        "started": summary.started,
        "seconds": summary.seconds,
        "verdict": summary.verdict,
        "retrained": summary.retrained,
        "promoted": summary.promoted,
        "steps": len(summary.steps),
        "cached": sum(step.get("cached") is True for step in summary.steps),
        "refused": sum(gate.get("passed") is False for gate in summary.gates),
    }


def _pages(records: Records) -> Iterable[Arguments]:
    count = page_count(len(records.runs.all()), SHOWN)
    return [{"page": str(number + 1)} for number in range(count)]


VIEWS = (
    View(("runs",), build),
    View(("runs", "page", "{page}"), build, _pages),
    View(
        ("runs", "{run}"),
        build_run,
        lambda records: [{"run": run.slug} for run in records.runs.all()],
    ),
)
