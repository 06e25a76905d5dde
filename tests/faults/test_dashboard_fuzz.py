"""Row 19: nobody gets in without the token beyond loopback, and no request breaks the dashboard."""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from litestar.testing import TestClient

from slmrec.dashboard.app import create_app
from slmrec.dashboard.pages import VIEWS
from slmrec.dashboard.security import Access
from slmrec.registry.store import Registry
from tests.conftest import ROOT
from tests.dashboard.conftest import HERE
from tests.dashboard.homes import NOW, make_home
from tests.faults.conftest import Tell
from tests.faults.requests import RAW, Request, malformed

TOKEN = "0123456789abcdef-token"
SCHEMATHESIS = Path(
    os.environ.get("SLMREC_SCHEMATHESIS", ROOT / ".venv-schemathesis" / "bin" / "schemathesis")
)
WAYS = {
    "loopback": (Access(actor="ann"), HERE),
    "token": (Access("0.0.0.0", token=TOKEN), "http://dash.example:8765"),
    "proxy": (Access("0.0.0.0", identity_header="x-user"), "http://dash.example:8765"),
}
PUBLIC = ("/login", "/static/style.css")
FEW, MANY = 60, 3000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("dashboard") / "home"
    make_home(found)
    return found


def standing(home: Path) -> tuple[Any, ...]:
    """All that a write would change."""
    registry = Registry(home / "registry")
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.name != ".lock")
    return registry.channels(), registry.decisions(), files


def described(client: TestClient, headers: dict[str, str]) -> dict[str, Any]:
    """The dashboard's own description."""
    answer = client.get("/api/openapi.json", headers=headers)
    assert answer.status_code == 200
    return answer.json()


def send(client: TestClient, found: Request, known: dict[str, str]) -> httpx.Response:
    """One request, its path as bytes and not as a client would mend it."""
    base = httpx.URL(str(client.base_url))
    # What httpx would not send as it is; the server sees the same bytes once it has unquoted them.
    path = b"".join(
        b"%%%02x" % byte if byte < 33 or byte > 126 or byte in b"?#" else bytes([byte])
        for byte in found["path"]
    )
    raw = path if found["query"] is None else path + b"?" + found["query"].hex().encode()
    request = httpx.Request(
        found["method"],
        base.copy_with(raw_path=raw or b"/"),
        headers={**found["headers"], "content-type": found["kind"], **known},
        content=found["content"],
    )
    return client.send(request, follow_redirects=False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "examples", [FEW, pytest.param(MANY, marks=pytest.mark.faults)], ids=["few", "many"]
)
def test_no_request_breaks_it_or_decides_anything_when_it_is_malformed(
    way: str, examples: int, home: Path
) -> None:
    access, address = WAYS[way]
    app = create_app(home, Registry(home / "registry"), access, lambda: NOW)
    before = standing(home)
    with TestClient(app, base_url=address, raise_server_exceptions=False) as client:
        known = {"token": {"authorization": f"Bearer {TOKEN}"}, "proxy": {"x-user": "ann"}}
        document = described(client, known.get(way, {}))

        @settings(
            max_examples=examples,
            derandomize=examples == FEW,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(malformed(document))
        def ask(found: Request) -> None:
            for shown in {"": {}, way: known.get(way, {})}.values():
                answer = send(client, found, shown)
                assert answer.status_code < 500, answer.text
                assert "Traceback" not in answer.text
                if way == "token" and not shown:
                    inside = answer.status_code == 200 and answer.url.path not in PUBLIC
                    assert not inside, "somebody got in without the token"

        ask()
    assert standing(home) == before


def test_the_description_names_every_address_there_is(home: Path) -> None:
    access, address = WAYS["token"]
    app = create_app(home, Registry(home / "registry"), access, lambda: NOW)
    with TestClient(app, base_url=address) as client:
        document = described(client, {"authorization": f"Bearer {TOKEN}"})
    for view in VIEWS:
        path = "/" + "/".join(view.pattern)
        assert "get" in document["paths"][path]
        assert "get" in document["paths"][f"/api{path}".rstrip("/")]
    posts = {path for path, methods in document["paths"].items() if "post" in methods}
    assert posts == {"/decisions/{action}", "/login", "/logout"}
    assert {scheme["type"] for scheme in document["components"]["securitySchemes"].values()} == {
        "http",
        "apiKey",
    }


def test_the_description_is_not_shown_before_the_login(home: Path) -> None:
    access, address = WAYS["token"]
    app = create_app(home, Registry(home / "registry"), access, lambda: NOW)
    with TestClient(app, base_url=address) as client:
        assert client.get("/api/openapi.json").status_code == 401


@pytest.mark.parametrize(
    "path", ["/%E4%B8%80", "/%C2%BD9", "/%F0%9F%98%80", "/login?next=/%E4%B8%80"]
)
def test_an_address_in_another_script_leads_to_the_login(path: str, home: Path) -> None:
    # A header cannot hold it as it is: this was a server error for everybody without a login.
    access, address = WAYS["token"]
    app = create_app(home, Registry(home / "registry"), access, lambda: NOW)
    with TestClient(app, base_url=address, raise_server_exceptions=False) as client:
        client.follow_redirects = False
        answer = client.get(path)
        assert answer.status_code == (200 if path.startswith("/login") else 303)
        assert answer.headers.get("location", "").isascii()


@contextmanager
def serving(home: Path, access: Access) -> Iterator[str]:
    """A real server on this machine; gives its address."""
    app = create_app(home, Registry(home / "registry"), access)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", proxy_headers=False))
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"127.0.0.1:{bound.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def wire(address: str, content: bytes) -> bytes:
    """What comes back for bytes on the wire, within a moment."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(65536)
        except OSError:  # it hung up, as it may
            return b""


def test_the_server_goes_on_when_what_comes_is_no_http(home: Path) -> None:
    before = standing(home)
    with serving(home, Access("0.0.0.0", token=TOKEN)) as address:
        for content in RAW:
            status = wire(address, content).partition(b"\r\n")[0]
            assert b" 5" not in status[:12], (content[:80], status)
            assert b" 200" not in status[:12], (content[:80], status)
        idle = [socket.create_connection(tuple(address.split(":"))) for _ in range(50)]  # type: ignore[arg-type]
        try:
            assert httpx.get(f"http://{address}/login", timeout=10).status_code == 200
        finally:
            for connection in idle:
                connection.close()
    assert standing(home) == before


@pytest.mark.faults
def test_schemathesis_finds_no_server_error_and_no_way_in(
    home: Path, tmp_path: Path, tell: Tell
) -> None:
    if not SCHEMATHESIS.exists():
        pytest.skip(f"no schemathesis at {SCHEMATHESIS}; 'make test-faults' installs it")
    before = standing(home)
    requests = 0
    with serving(home, Access("0.0.0.0", token=TOKEN)) as address:
        headers = {"authorization": f"Bearer {TOKEN}"}
        document = httpx.get(f"http://{address}/api/openapi.json", headers=headers).text
        (tmp_path / "openapi.json").write_text(document)
        for shown in ([], ["--header", f"Authorization: Bearer {TOKEN}"]):
            report = tmp_path / f"report{len(shown)}.json"
            ran = subprocess.run(
                [
                    *(str(SCHEMATHESIS), "run", str(tmp_path / "openapi.json")),
                    *("--url", f"http://{address}", "--no-color", "--warnings", "off"),
                    *("--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"),
                    *("--max-examples", "100", "--suppress-health-check", "all"),
                    *("--max-redirects", "0", "--report-json-path", str(report), *shown),
                ],
                capture_output=True,
                text=True,
                timeout=1800,
            )
            assert ran.returncode == 0, ran.stdout[-3000:]
            requests += _cases(ran.stdout)
    assert standing(home) == before
    tell(
        19,
        "the dashboard lets nobody in without a token and survives malformed requests",
        "0 server errors, 0 unauthenticated writes",
        f"{requests:,} requests of schemathesis and {len(RAW)} raw ones: 0 server errors, 0 writes; "
        f"{len(json.loads(document)['paths'])} addresses",
    )


def _cases(said: str) -> int:
    """How many requests schemathesis made, from what it said."""
    (line,) = [line for line in said.splitlines() if " generated, " in line]
    return int(line.split()[0].replace(",", ""))
