"""How long the dashboard takes for a page when a home holds 500 runs.

    .venv/bin/python -m benchmarks.dashboard [--runs 500]

The runs are those of `tests/dashboard/homes.py`, each summary padded with the models and
comparisons of a real one, about 30 kB. Every kind of page is asked for over a socket as a browser
would, first anew and then again; milliseconds until the last byte.
"""

import argparse
import http.client
import json
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import uvicorn

from slmrec.artifacts import write_json
from slmrec.dashboard.app import create_app
from slmrec.dashboard.security import Access
from slmrec.registry.store import Registry
from tests.dashboard.homes import make_home

AGAIN = 9


def main() -> None:
    """Make a home, serve it, ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        registry = make_home(home, runs=runs)
        for summary in (home / "runs").glob("*/summary.json"):
            pad(summary)
        for number in range(runs):
            registry.refuse(None, reason=f"{number}", actor="p", time="2026-01-01", evidence={})
        started = time.perf_counter()
        app = create_app(home, Registry(home / "registry"), Access(actor="ann"))
        print(f"{runs} runs; start {1000 * (time.perf_counter() - started):.0f} ms")
        config = uvicorn.Config(app, port=0, log_level="warning", ws="none")
        server, socket = uvicorn.Server(config), config.bind_socket()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            measure(socket.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
            socket.close()


def pad(path: Path) -> None:
    """Give a summary the size of a real one."""
    summary = json.loads(path.read_text(encoding="utf-8"))
    metrics = {f"{n}@{k}": {"value": 0.3, "ci95": [0.2, 0.4]} for n in "abc" for k in range(5)}
    names = [f"model-{number}" for number in range(8)]
    summary["models"] = [{"name": name, "bytes": 1000, "metrics": metrics} for name in names]
    compared = {"metric": "ndcg@10", "difference": 0.1, "ci95": [0.0, 0.2], "p": 0.1, "p_holm": 1.0}
    summary["comparisons"] = [{"a": a, "b": b, **compared} for a in names for b in names]
    write_json(path, summary)


def measure(port: int) -> None:
    """Print a line a page."""
    run = json.loads(ask(port, "/api/runs")[0])["runs"][0]["slug"]
    pages = (
        "/",
        "/drift",
        "/drift/item_popularity",
        "/models",
        "/models/3",
        "/models/compare/2/3",
        "/data",
        "/data/quarantine/1",
        "/runs",
        "/runs/page/10",
        f"/runs/{run}",
        f"/runs/{run}/drift",
        "/decisions",
        "/decisions/3",
        "/api",
        "/api/runs",
    )
    print(f"{'page':<34}{'first':>8}{'median':>8}{'slowest':>8}{'kB':>7}")
    for page in pages:
        content, first = ask(port, page)
        again = [ask(port, page)[1] for _ in range(AGAIN)]
        shown = page.replace(run, "RUN")
        print(
            f"{shown:<34}{first:8.1f}{median(again):8.1f}{max(again):8.1f}{len(content) / 1e3:7.1f}"
        )


def ask(port: int, path: str) -> tuple[bytes, float]:
    """A page and how many milliseconds it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, (path, answer.status)
    return content, 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
