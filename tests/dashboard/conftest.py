"""A home and its dashboard, asked without a socket."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from litestar.testing import TestClient

from slmrec.dashboard.app import create_app
from slmrec.dashboard.security import Access
from slmrec.registry.store import Registry
from tests.dashboard.homes import NOW, make_home

HERE = "http://127.0.0.1:8765"
Open = Callable[..., TestClient]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def registry(home: Path) -> Registry:
    return Registry(home / "registry")


@pytest.fixture
def open_client() -> Iterator[Open]:
    """Opens the dashboard of a home as seen from an address."""
    with ExitStack() as stack:

        def open_client(
            home: Path, access: Access | None = None, address: str = HERE
        ) -> TestClient:
            app = create_app(
                home, Registry(home / "registry"), access or Access(actor="ann"), lambda: NOW
            )
            client = TestClient(app, base_url=address, raise_server_exceptions=False)
            client.follow_redirects = False
            return stack.enter_context(client)

        yield open_client


@pytest.fixture
def client(home: Path, open_client: Open) -> TestClient:
    return open_client(home)


def links(html: str) -> set[str]:
    """Where the links and frames of a page lead on the same server."""
    return {
        path
        for path in re.findall(r'(?:href|src)="(/[^"#]*)', html)
        if not path.startswith("/static")
    }


def walk(client: TestClient) -> dict[str, str]:
    """Every page that links lead to, by path."""
    found: dict[str, str] = {}
    left = ["/"]
    while left:
        path = left.pop()
        if path in found:
            continue
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        found[path] = answer.text
        left += links(answer.text)
    return found


def fields(html: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that decides so."""
    form = re.search(rf'action="/{action}"(.*?)</form>', html, re.S)
    assert form, action
    return dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form[1]))
