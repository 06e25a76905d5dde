"""A real browser walks every page and takes every decision; nothing that it is told runs."""

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from slmrec.dashboard.app import create_app
from slmrec.dashboard.export import export
from slmrec.dashboard.records import Records
from slmrec.dashboard.security import Access
from slmrec.registry.store import Registry
from tests.dashboard.homes import NOW, PAYLOADS, make_home

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = os.environ.get("SLMREC_SCREENSHOTS", "")
"""A folder for pictures of every page; empty for none."""

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


@pytest.fixture
def serve() -> Iterator[object]:
    """Serves a home on a free port; gives its address."""
    running = []

    def serve(home: Path) -> str:
        app = create_app(home, Registry(home / "registry"), Access(actor="ann"), lambda: NOW)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
        socket = server.config.bind_socket()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        running.append((server, thread, socket))
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        return f"http://127.0.0.1:{socket.getsockname()[1]}"

    yield serve
    for server, thread, socket in running:
        server.should_exit = True
        thread.join()
        socket.close()


def watched(browser, width: int, scheme: str):
    """A page, and a list that collects what it ought not to do."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("popup", lambda other: wrong.append(other.url))
    return page, wrong


WIDTHS = (1280, 390)
"""Of a window, CSS pixels."""
HELD = """() => ({
  headings: document.querySelectorAll('h1').length,
  images: [...document.images].map(one => one.naturalWidth),
  links: [...document.querySelectorAll('a')].map(one => one.href.split('#')[0]),
})"""
"""What a page holds, in one question: each locator would first bring its own machinery along."""


def walk(page, start: str, scheme: str = "") -> set[str]:
    """Visit every page that links lead to; each fits its window, wide or narrow, and keeps to this
    server."""
    origin = start.rpartition("/")[0]
    found, left = set(), [start]
    while left:
        address = left.pop()
        if address in found:
            continue
        found.add(address)
        page.goto(address)
        held = page.evaluate(HELD)
        assert held["headings"] == 1, address
        assert all(held["images"]), address
        # As it is now, and the other way: a window that is resized lays out everything anew.
        for width in sorted(WIDTHS, key=lambda width: width != page.viewport_size["width"]):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, (address, width, wide)
            if SHOTS and scheme:
                path = urlsplit(address).path.strip("/").replace("/", "_") or "overview"
                name = f"{path[-80:]}-{width}-{scheme}.png"
                page.screenshot(path=Path(SHOTS) / name, full_page=True)
        assert all(link.startswith(origin) for link in held["links"]), address
        left += held["links"]
    return found


@pytest.mark.parametrize("scheme", ["light", *(["dark"] if SHOTS else [])])
def test_every_page_is_whole_in_every_window(browser, serve, tmp_path, scheme):
    make_home(tmp_path)
    page, wrong = watched(browser, WIDTHS[0], scheme)
    found = walk(page, serve(tmp_path) + "/", scheme)
    assert len(found) > 20
    assert wrong == []


def test_nothing_runs_and_no_page_breaks_when_every_text_is_hostile(browser, serve, tmp_path):
    make_home(tmp_path, PAYLOADS)
    page, wrong = watched(browser, WIDTHS[0], "light")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    origin = serve(tmp_path)
    found = walk(page, origin + "/")
    assert len(found) > 60  # each hostile statistic has a page
    assert wrong == []
    assert {*filter(lambda url: not url.startswith((origin, "data:")), asked)} == set()
    assert not page.evaluate("window.ran")


def test_a_person_takes_every_decision_with_the_keyboard(browser, serve, tmp_path):
    registry = make_home(tmp_path)
    page, wrong = watched(browser, 1280, "light")
    origin = serve(tmp_path)

    def decide(action: str, reason: str, until: str = "") -> None:
        page.goto(f"{origin}/decisions")
        form = page.locator(f"form[action='/decisions/{action}']")
        if until:
            form.locator("[name=until]").fill(until)
        form.locator("[name=reason]").focus()
        page.keyboard.type(reason)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{origin}/decisions/*")
        assert reason in page.locator("main").inner_text()

    decide("promote", "better lists")
    assert registry.production().number == 3
    decide("rollback", "complaints")
    assert registry.production().number == 2
    decide("retrain", "a new season")
    decide("snooze", "a sale", "2026-03-05T10:00")
    registry.promote(3, 2, reason="r", actor="bob", time=NOW.isoformat())
    registry.rollback(reason="r", actor="bob", time=NOW.isoformat())
    assert [one.action for one in registry.decisions()][3:] == [
        "promote",
        "rollback",
        "retrain",
        "snooze",
        "promote",
        "rollback",
    ]
    assert {one.actor for one in registry.decisions()[3:7]} == {"ann"}
    assert wrong == []


def test_a_person_rejects_and_a_stale_form_is_explained(browser, serve, tmp_path):
    registry = make_home(tmp_path)
    page, wrong = watched(browser, 390, "dark")
    other, _ = watched(browser, 390, "dark")
    origin = serve(tmp_path)
    for one in (page, other):
        one.goto(f"{origin}/decisions")
    page.fill("#reject-reason", "too many repeats")
    page.click("form[action='/decisions/reject'] button")
    page.wait_for_url(f"{origin}/decisions/4")
    assert registry.candidate() is None
    other.fill("#promote-reason", "I like it")
    other.click("form[action='/decisions/promote'] button")
    assert "Somebody has decided meanwhile" in other.locator("h1").inner_text()
    assert registry.production().number == 2
    assert wrong == []


def test_a_double_click_decides_once(browser, serve, tmp_path):
    registry = make_home(tmp_path)
    page, _ = watched(browser, 1280, "light")
    page.goto(serve(tmp_path) + "/decisions")
    page.fill("#rollback-reason", "complaints")
    page.dblclick("form[action='/decisions/rollback'] button")
    playwright.expect(page).to_have_url(
        re.compile(r"/decisions/4$")
    )  # the second navigation ends the first
    assert registry.production().number == 1
    assert len(registry.decisions()) == 4


def test_the_first_key_leads_past_the_navigation(browser, serve, tmp_path):
    make_home(tmp_path)
    page, _ = watched(browser, 1280, "light")
    page.goto(serve(tmp_path) + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(browser, serve, tmp_path, scheme):
    make_home(tmp_path)
    page, _ = watched(browser, 1280, scheme)
    origin = serve(tmp_path)
    for path in ("/", "/drift", "/decisions", "/models/3", "/data"):
        page.goto(origin + path)
        poor = page.evaluate(CONTRAST)
        assert poor == [], (path, poor)


CONTRAST = """() => {
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(
    c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4).reduce(
    (sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const ground = one => {
    for (; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter(one => !one.matches('.skip') &&
    [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())).map(one => {
      const [a, b] = [light(parts(getComputedStyle(one).color)), light(ground(one))];
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), one.textContent.slice(0, 40)];
    }).filter(([ratio]) => ratio < 4.5);
}"""
"""Elements with words whose contrast is below 4.5, by the formula of WCAG 2."""


def test_the_export_is_whole_when_it_is_opened_from_a_disk(browser, tmp_path):
    registry = make_home(tmp_path / "home")
    export(Records(tmp_path / "home", registry, lambda: NOW), tmp_path / "out")
    page, wrong = watched(browser, 1280, "light")
    found = walk(page, f"file://{tmp_path}/out/index.html")
    assert len(found) > 20
    page.goto(f"file://{tmp_path}/out/drift.html")
    assert page.locator("main").evaluate("one => getComputedStyle(one).maxWidth") != "none"
    assert wrong == []
