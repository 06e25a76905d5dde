"""The server: every page and its twin under /api, the reports in their frames, the decisions."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from litestar import Litestar, Request, Response, get, post
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from slmrec.dashboard.deciding import decide, read_form
from slmrec.dashboard.description import describe
from slmrec.dashboard.pages import REPORTS, VIEWS
from slmrec.dashboard.pages.models import report_bytes
from slmrec.dashboard.pages.view import PageMissingError, View
from slmrec.dashboard.problems import ProblemError, problem_page
from slmrec.dashboard.records import Records, as_json
from slmrec.dashboard.rendering import Page, online, render
from slmrec.dashboard.security import (
    HEADERS,
    LIFETIME,
    PAGE_POLICY,
    REPORT_POLICY,
    SCRIPTED_REPORT_POLICY,
    SESSION,
    Access,
    clean_name,
)
from slmrec.errors import SlmrecError
from slmrec.registry.store import Registry

STYLE = Path(__file__).parent / "static" / "style.css"
LARGEST_BODY = 64 * 1024
"""Bytes of a submitted form."""
_ACTOR = "slmrec.actor"
_LOG = logging.getLogger(__name__)
Ask = Request[Any, Any, Any]


@dataclass(frozen=True)
class Desk:
    """What the handlers share."""

    records: Records
    access: Access

    def show(self, request: Ask, page: Page, status: int = 200) -> Response[str]:
        """Answer with a page, or with its data where the twin was asked for."""
        if is_api(request.url.path):
            return Response(as_json(page.data), media_type="application/json", status_code=status)
        actor = str(request.scope.get(_ACTOR) or "")
        token = self.access.form_token(actor, self.now())
        frame = online(token, actor, can_log_out=bool(self.access.token and actor))
        return Response(render(page, frame), media_type="text/html", status_code=status)

    def now(self) -> float:
        """Seconds since 1970."""
        return self.records.now().timestamp()

    def check_form(self, request: Ask, fields: Mapping[str, str]) -> None:
        """Raise `ProblemError` for a form that this server has not made for this person."""
        actor = str(request.scope.get(_ACTOR) or "")
        site = request.headers.get("sec-fetch-site", "same-origin")
        ours = self.access.form_is_ours(fields.get("form_token", ""), actor, self.now())
        if not ours or site not in ("same-origin", "none"):
            raise ProblemError(
                403,
                "This form is not valid any more",
                "It is too old, or the server has started anew since, or another site has sent it. "
                "Nothing was done. Open the page again and submit it from there.",
            )


def create_app(
    home: Path,
    registry: Registry,
    access: Access,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ASGIApp:
    """The dashboard of a home and a registry. Raises `ConfigError` where strangers could get in."""
    access.check()
    desk = Desk(Records(home, registry, clock), access)
    desk.records.runs.all()  # summaries are parsed now and not while the first reader waits
    app = Litestar(
        route_handlers=[
            *(handler for view in VIEWS for handler in _pages(desk, view)),
            *_reports(desk),
            _description(desk),
            *_forms(desk),
            _style,
        ],
        exception_handlers={Exception: _explain(desk)},
        openapi_config=None,
        request_max_body_size=LARGEST_BODY,
        logging_config=None,
        debug=False,
    )
    return _guarded(app, desk)


def is_api(path: str) -> bool:
    """Whether a path is one of the twins."""
    return path == "/api" or path.startswith("/api/")


@get("/static/style.css", sync_to_thread=False)
def _style() -> Response[bytes]:
    return Response(
        STYLE.read_bytes(), media_type="text/css", headers={"cache-control": "max-age=300"}
    )


def _pages(desk: Desk, view: View) -> list[Any]:
    path = "/" + "/".join(part.replace("}", ":str}") for part in view.pattern)

    def show(request: Ask) -> Response[str]:
        return desk.show(request, view.build(desk.records, request.path_params))

    # One handler a path: a handler that has two and runs in a thread is wrapped twice (Litestar 2.25).
    return [get(one, sync_to_thread=True)(show) for one in (path, f"/api{path}".rstrip("/"))]


def _reports(desk: Desk) -> list[Any]:
    @get("/runs/{run:str}/reports/{kind:str}", sync_to_thread=True)
    def of_run(request: Ask) -> Response[bytes]:
        run = desk.records.runs.find(request.path_params["run"])
        found = REPORTS.get(request.path_params["kind"])
        holding = desk.records.runs.artifact(run, found.port) if run and found else None
        content = holding.bytes(found.name) if holding and found else None
        return _report(content, scripts=found is not None and found.scripts)

    @get("/models/{version:int}/reports/evaluation", sync_to_thread=True)
    def of_version(request: Ask) -> Response[bytes]:
        return _report(report_bytes(desk.records, request.path_params["version"]), scripts=False)

    return [of_run, of_version]


def _description(desk: Desk) -> Any:
    document = json.dumps(describe(VIEWS, login=bool(desk.access.token)), indent=1)

    @get("/api/openapi.json", sync_to_thread=False)
    def description() -> Response[str]:
        return Response(document, media_type="application/json")

    return description


def _report(content: bytes | None, *, scripts: bool) -> Response[bytes]:
    if content is None:
        raise PageMissingError("the report is gone, or it was changed since it was written")
    policy = SCRIPTED_REPORT_POLICY if scripts else REPORT_POLICY
    headers = {"content-security-policy": policy}
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


def _forms(desk: Desk) -> list[Any]:
    @post("/decisions/{action:str}", status_code=303)
    async def submit(request: Ask) -> Response[Any]:
        fields = await _fields(request)
        desk.check_form(request, fields)
        form = read_form(request.path_params["action"], fields, desk.records.now())
        made = await asyncio.to_thread(decide, desk.records, form, request.scope[_ACTOR])  # type: ignore[literal-required]
        return _see("/decisions" if made is None else f"/decisions/{made.number}")

    @get("/login", sync_to_thread=False)
    def login(request: Ask) -> Response[str]:
        return desk.show(request, _login_page(request.query_params.get("next", "/")))

    @post("/login", status_code=303)
    async def enter(request: Ask) -> Response[Any]:
        fields = await _fields(request)
        desk.check_form(request, fields)
        name = clean_name(fields.get("name", ""))
        if name is None or not desk.access.opens(fields.get("token", "")):
            page = _login_page(fields.get("next", "/"), refused=True)
            return desk.show(request, page, 403)
        answer = _see(_ours(fields.get("next", "/")))
        answer.set_cookie(
            SESSION,
            desk.access.session(name, desk.now()),
            max_age=LIFETIME,
            httponly=True,
            samesite="strict",
            # Where TLS ends at a proxy, which says so, an open page never gets the cookie.
            secure=request.headers.get("x-forwarded-proto", request.url.scheme) == "https",
        )
        return answer

    @post("/logout", status_code=303)
    async def leave(request: Ask) -> Response[Any]:
        desk.check_form(request, await _fields(request))
        answer = _see("/login")
        answer.delete_cookie(SESSION)
        return answer

    return [submit, login, enter, leave] if desk.access.token else [submit]


def _login_page(next_: str, *, refused: bool = False) -> Page:
    return Page("Log in", "", "login.html", {"next": _ours(next_), "refused": refused})


def _ours(path: str) -> str:
    """A path of this server; the first page where it is anything else."""
    parts = urlsplit(path)
    harmless = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if harmless and path.isprintable() and not (parts.scheme or parts.netloc) else "/"


def _see(path: str) -> Response[Any]:
    # A header holds ASCII, an address any letter.
    place = quote(path, safe="/?&=%#:;,+@~!$'()*[]")
    return Response(b"", status_code=303, media_type="text/plain", headers={"location": place})


async def _fields(request: Ask) -> dict[str, str]:
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _explain(desk: Desk) -> Callable[[Ask, Exception], Response[str]]:
    def explain(request: Ask, error: Exception) -> Response[str]:
        problem = _problem(error)
        if problem.status >= 500:
            _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
        return desk.show(request, problem_page(problem), problem.status)

    return explain


def _problem(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case PageMissingError():
            return ProblemError(404, "Not found", f"Sorry, {error}.")
        case SlmrecError() | OSError():
            return ProblemError(
                500,
                "The records cannot be read",
                "Something that this page needs is missing or was altered; the log of the dashboard's "
                "process says what. Restore it from a copy, or run the pipeline again.",
            )
        case HTTPException(status_code=404):
            return ProblemError(404, "Not found", "There is no such page.")
        case HTTPException(status_code=405):
            return ProblemError(405, "Not possible", "This page takes no such request.")
        case HTTPException(status_code=413):
            return ProblemError(413, "Too long", "That is more than a form may hold.")
        case HTTPException() if error.status_code < 500:
            return ProblemError(error.status_code, "Not understood", "The request is malformed.")
        case _:
            return ProblemError(
                500, "Something went wrong", "The log of the dashboard's process says what."
            )


def _guarded(app: Litestar, desk: Desk) -> ASGIApp:
    """The application behind the checks that every request passes, headers on every answer."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                safe = {**HEADERS, "content-security-policy": PAGE_POLICY}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in safe.items() if k.encode() not in given),
                ]
            await send(message)

        request: Ask = Request(scope, receive)
        refused = _admit(request, desk)
        if refused is not None:
            await refused.to_asgi_response(app=None, request=request)(scope, receive, send_safely)
            return
        await app(scope, receive, send_safely)

    return guarded


def _admit(request: Ask, desk: Desk) -> Response[Any] | None:
    """Note who asks; an answer where nobody may see anything."""
    path, access = request.url.path, desk.access
    if not access.knows_host(request.headers.get("host", "")):
        problem = ProblemError(
            403, "Another host", "This dashboard answers to localhost and 127.0.0.1 only."
        )
        return desk.show(request, problem_page(problem), 403)
    actor = access.who(request.headers, request.cookies, desk.now(), api=is_api(path))
    if actor is not None:
        request.scope[_ACTOR] = actor  # type: ignore[literal-required]
        return None
    if access.identity_header:
        problem = ProblemError(
            403, "Not known", "The proxy in front of this dashboard has not said who you are."
        )
        return desk.show(request, problem_page(problem), 403)
    if path in ("/login", "/static/style.css"):
        return None
    if is_api(path):
        problem = ProblemError(401, "Not known", "Send 'Authorization: Bearer' with the token.")
        return desk.show(request, problem_page(problem), 401)
    return _see(f"/login?next={quote(path)}")
