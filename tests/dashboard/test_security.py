"""Who gets in, what a browser may do, and what hostile texts achieve: nothing."""

import html
import logging
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from slmrec.dashboard.files import Files, Shelf
from slmrec.dashboard.plots import Node, Point, Spot, costs_svg, effects_svg, graph_svg
from slmrec.dashboard.rendering import TEMPLATES
from slmrec.dashboard.security import PAGE_POLICY, SESSION, Access
from slmrec.dashboard.values import slug
from slmrec.errors import ConfigError
from slmrec.registry.store import Registry
from tests.dashboard.conftest import fields, walk
from tests.dashboard.homes import PAYLOADS, make_home

TOKEN = "0123456789abcdef-token"
ELSEWHERE = "http://dash.example:8765"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "dash.example", ""])
def test_others_are_kept_out_unless_there_is_a_login(host):
    with pytest.raises(ConfigError, match="SLMREC_DASHBOARD_TOKEN"):
        Access(host).check()
    Access(host, token=TOKEN).check()
    Access(host, identity_header="x-user").check()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.1"])
def test_loopback_needs_no_login(host):
    Access(host).check()


def test_a_login_is_one_and_not_easily_guessed():
    with pytest.raises(ConfigError, match="expected one of them"):
        Access(token=TOKEN, identity_header="x-user").check()
    with pytest.raises(ConfigError, match="expected at least 16"):
        Access(token="short").check()


def test_another_name_for_this_machine_is_refused(home, open_client):
    client = open_client(home)
    for host in ("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[::2]:1"):
        answer = client.get("/", headers={"host": host})
        assert answer.status_code == 403
        assert "Version" not in answer.text
    for host in ("localhost:8765", "127.0.0.1", "[::1]:8765", "LOCALHOST"):
        assert client.get("/", headers={"host": host}).status_code == 200


def test_every_answer_forbids_scripts_and_foreign_frames(client):
    paths = ("/", "/api", "/nothing", "/static/style.css", "/decisions/x")
    answers = [client.get(path) for path in paths]
    answers += [client.post("/decisions/promote"), client.get("/", headers={"host": "evil"})]
    for answer in answers:
        assert answer.headers["content-security-policy"] == PAGE_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert "script-src" not in PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    assert client.get("/").headers["cache-control"] == "no-store"


def test_reports_are_shown_in_a_sandbox_only(client):
    run = client.get("/api/runs").json()["runs"][0]["slug"]
    for kind in ("drift", "validation", "evidently"):
        policy = client.get(f"/runs/{run}/reports/{kind}").headers["content-security-policy"]
        assert policy.startswith("sandbox")
        assert "allow-same-origin" not in policy
        assert "frame-ancestors 'self'" in policy
        assert ("allow-scripts" in policy) == (kind == "evidently")
    policy = client.get("/models/3/reports/evaluation").headers["content-security-policy"]
    assert policy.startswith("sandbox;")
    frame = client.get(f"/runs/{run}/drift/evidently").text
    assert 'sandbox="allow-scripts"' in frame
    assert re.search(r"<iframe[^>]* sandbox src=", client.get("/data/report").text)


@pytest.mark.parametrize(
    "path",
    [
        "/runs/../../etc/passwd",
        "/runs/%2e%2e/reports/drift",
        "/runs/x/reports/..%2f..%2fsummary.json",
        "/models/1/reports/../../model",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/models/0",
        "/models/-1",
        "/models/99999999999999999999",
        "/models/compare/1/x",
        "/decisions/999",
        "/drift/nothing",
        "/api/nothing",
    ],
)
def test_what_is_not_there_is_not_found_and_nothing_else_is_told(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text


def test_an_error_tells_the_log_and_not_the_reader(home, open_client, monkeypatch, caplog):
    client = open_client(home)

    def fail(self):
        raise RuntimeError(f"secret at {home}")

    monkeypatch.setattr(Registry, "channels", fail)
    with caplog.at_level(logging.ERROR):
        answer = client.get("/decisions")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "secret" in caplog.text


def test_a_registry_that_cannot_be_read_is_explained(home, open_client):
    (home / "registry/channels.json").write_text("{")
    answer = open_client(home).get("/")
    assert answer.status_code == 500
    assert "cannot be read" in answer.text
    assert str(home) not in answer.text


@pytest.fixture
def guarded(home, open_client):
    return open_client(home, Access("0.0.0.0", token=TOKEN), ELSEWHERE)


def login(client, name="Ann Lee", token=TOKEN, next_="/drift"):
    page = html.unescape(client.get("/login").text)
    sent = {**fields(page, "login"), "name": name, "token": token, "next": next_}
    return client.post("/login", data=sent)


def test_nothing_is_shown_before_the_login(guarded):
    for path in ("/", "/drift", "/models/1", "/runs", "/models/1/reports/evaluation", "/nothing"):
        answer = guarded.get(path)
        assert (answer.status_code, answer.text) == (303, "")
        assert answer.headers["location"].startswith("/login")
    assert guarded.get("/api/drift").status_code == 401
    assert guarded.post("/decisions/promote").status_code == 303


def test_the_token_opens_and_the_name_stands_in_the_log(guarded, registry):
    answer = login(guarded)
    assert (answer.status_code, answer.headers["location"]) == (303, "/drift")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    page = html.unescape(guarded.get("/decisions").text)
    sent = {**fields(page, "decisions/retrain"), "reason": "r"}
    assert guarded.post("/decisions/retrain", data=sent).status_code == 303
    assert registry.decisions()[-1].actor == "Ann Lee"


@pytest.mark.parametrize(
    ("name", "token"), [("ann", "wrong"), ("ann", ""), ("", TOKEN), ("a\u202eb", TOKEN)]
)
def test_a_wrong_token_or_no_name_opens_nothing(guarded, name, token):
    answer = login(guarded, name, token)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert guarded.get("/").status_code == 303


@pytest.mark.parametrize(
    "next_",
    ["http://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "/\tevil", ""],
)
def test_a_login_leads_nowhere_else(guarded, next_):
    assert login(guarded, next_=next_).headers["location"] == "/"


def test_a_login_leads_to_the_page_that_was_asked_for(guarded):
    location = guarded.get("/runs/20260001-120000/drift?x=1").headers["location"]
    assert location == "/login?next=/runs/20260001-120000/drift"
    page = html.unescape(guarded.get(location).text)
    assert fields(page, "login")["next"] == "/runs/20260001-120000/drift"


@pytest.mark.parametrize(("told", "secure"), [({"x-forwarded-proto": "https"}, True), ({}, False)])
def test_the_cookie_is_for_encrypted_pages_only_where_a_proxy_encrypts(guarded, told, secure):
    guarded.headers.update(told)
    assert ("secure" in login(guarded).headers["set-cookie"].lower()) is secure


def test_a_session_ends_and_cannot_be_forged():
    access = Access("0.0.0.0", token=TOKEN)
    session = access.session("ann", 0)

    def who(cookie, now=1.0):
        return access.who({}, {SESSION: cookie}, now, api=False)

    assert who(session) == "ann"
    assert who(session, 12 * 3600.0) is None
    other = Access("0.0.0.0", token=TOKEN + "x").session("ann", 0)
    until, name, signature = session.split(".")
    for cookie in (other, f"9{until}.{name}.{signature}", f"{until}.{name}.", "", "..", "é.é.é"):
        assert who(cookie) is None


def test_a_log_out_ends_the_session(guarded):
    login(guarded)
    page = html.unescape(guarded.get("/").text)
    assert guarded.post("/logout", data=fields(page, "logout")).status_code == 303
    assert guarded.get("/").status_code == 303


def test_a_program_shows_the_token_and_sees_the_twins_only(guarded):
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/api/models", headers=headers).status_code == 200
    assert guarded.get("/models", headers=headers).status_code == 303
    assert guarded.get("/api/models", headers={"authorization": "Bearer x"}).status_code == 401
    assert guarded.post("/decisions/retrain", headers=headers).status_code == 303


def test_the_proxy_has_to_say_who_somebody_is(home, open_client):
    client = open_client(home, Access("0.0.0.0", identity_header="X-User"), ELSEWHERE)
    assert client.get("/").status_code == 403
    assert client.get("/", headers={"x-user": "\x7f"}).status_code == 403
    page = client.get("/", headers={"x-user": "ann@example.org"})
    assert "You decide as <strong>ann@example.org</strong>" in page.text


class Elements(HTMLParser):
    """Tags and attributes as a browser would read them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.links = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.links |= {
            value or "" for name, value in attributes if name in ("href", "src", "action")
        }


def test_hostile_texts_stay_texts_in_every_page(tmp_path, open_client):
    assert len(PAYLOADS) >= 30
    make_home(tmp_path / "plain")
    allowed = [Elements(page) for page in walk(open_client(tmp_path / "plain")).values()]
    tags = set().union(*(one.tags for one in allowed)) | {"nav", "details", "summary", "small"}
    attributes = set().union(*(one.attributes for one in allowed))
    make_home(tmp_path / "hostile", PAYLOADS, runs=len(PAYLOADS))
    client = open_client(tmp_path / "hostile")
    pages = walk(client)
    assert len(pages) > 100
    shown = "".join(pages.values())
    for payload in PAYLOADS:
        told = re.sub("[\u202e\u202c\u2028\0\a]", "\ufffd", html.escape(payload))
        assert told[:100].replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in shown
    assert not {*"\u202e\u202c\u2028\0\a"} & {*shown}
    for path, page in pages.items():
        if "/reports/" in path:
            continue
        found = Elements(page)
        assert found.tags <= tags, path
        assert found.attributes <= attributes, path
        assert not any(name[:2] == "on" for name in found.attributes)
        for link in found.links:
            assert link.startswith(("/", "#", "data:,", "data:image/svg+xml;base64,")), (path, link)
        twin = client.get(f"/api{path}".rstrip("/"))
        assert twin.headers["content-type"].startswith("application/json")


def test_a_plot_is_whole_whatever_its_words_are():
    for word in PAYLOADS:
        for drawn in (
            effects_svg([Point(word, 0.5, True)], 0.1),
            costs_svg([Spot(word, 1.0, 0.5, 0.4, 0.6, True)]),
            graph_svg([[Node(word, word, "done")]], []),
        ):
            names = {
                element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawn).iter()
            }
            assert not {"script", "foreignObject", "image", "a"} & names


def test_a_name_in_an_address_is_harmless():
    for word in PAYLOADS:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", slug(word))
    assert len({slug(word) for word in PAYLOADS}) == len(PAYLOADS)
    assert slug("item_popularity") == "item_popularity"


def test_templates_escape_by_themselves():
    assert TEMPLATES.autoescape is True
    for name in TEMPLATES.list_templates():
        source = TEMPLATES.loader.get_source(TEMPLATES, name)[0]
        assert "|safe" not in source.replace(" ", "")
        assert "style=" not in source


def test_a_place_outside_of_the_home_is_not_found(tmp_path):
    shelf = Shelf(tmp_path, Files())
    (tmp_path / "cache" / "artifacts").mkdir(parents=True)
    (tmp_path / "cache" / "artifacts" / "out").symlink_to("/etc")
    for place in ("/etc", "", "/x/cache/artifacts/../../..", "/x/cache/artifacts/out", "\0"):
        assert shelf.find(place) is None
