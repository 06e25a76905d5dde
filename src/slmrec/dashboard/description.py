"""What the dashboard answers to, as OpenAPI 3.1: for programs that read the twins, and for tests."""

from collections.abc import Iterable
from typing import Any

from slmrec import __version__
from slmrec.dashboard.deciding import ACTIONS, LONGEST_REASON
from slmrec.dashboard.pages.view import View
from slmrec.dashboard.security import LONGEST_NAME, SESSION

_TEXT = {"type": "string"}
_REPORTS = ("/runs/{run}/reports/{kind}", "/models/{version}/reports/evaluation")
_DECISION = {
    "reason": {**_TEXT, "maxLength": LONGEST_REASON},
    **dict.fromkeys(("until", "production", "candidate", "decided"), _TEXT),
    **{f"evidence.{name}": _TEXT for name in ("drift", "evaluation", "model")},
}
_FORMS: dict[str, dict[str, Any]] = {
    "/decisions/{action}": _DECISION,
    "/login": {"name": {**_TEXT, "maxLength": LONGEST_NAME}, "token": _TEXT, "next": _TEXT},
    "/logout": {},
}


def describe(views: Iterable[View], *, login: bool) -> dict[str, Any]:
    """The document; `login` says whether people log in here with a token."""
    paths: dict[str, dict[str, Any]] = {}
    for view in views:
        path = "/" + "/".join(view.pattern)
        paths[path] = {"get": _page(path, "text/html")}
        twin = f"/api{path}".rstrip("/")
        paths[twin] = {"get": _page(twin, "application/json")}
    for path in _REPORTS:
        paths[path] = {"get": _page(path, "text/html")}
    paths["/static/style.css"] = {"get": _page("/static/style.css", "text/css")}
    paths["/api/openapi.json"] = {"get": _page("/api/openapi.json", "application/json")}
    if login:
        paths["/login"] = {"get": _page("/login", "text/html")}
    for path, fields in _FORMS.items():
        if login or path not in ("/login", "/logout"):
            paths.setdefault(path, {})["post"] = _form(path, fields)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "slmrec dashboard", "version": __version__},
        "paths": paths,
    }
    if login:
        document["components"] = {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": SESSION},
            }
        }
        document["security"] = [{"session": []}, {"token": []}]
    return document


def _page(path: str, kind: str) -> dict[str, Any]:
    return {
        "parameters": _parameters(path),
        "responses": {
            "200": {"description": "what was asked for", "content": {kind: {}}},
            **_OTHERS,
        },
    }


def _form(path: str, fields: dict[str, Any]) -> dict[str, Any]:
    whole = {"form_token": _TEXT, **fields}
    schema = {"type": "object", "properties": whole, "required": ["form_token"]}
    return {
        "parameters": _parameters(path),
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": schema}},
        },
        "responses": {"303": {"description": "done; where to look"}, **_OTHERS},
    }


def _parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {**_TEXT, "enum": list(ACTIONS)} if name == "action" else _TEXT,
        }
        for name in names
    ]


_OTHERS = {
    "default": {"description": "a page, or an object with `status`, `problem` and `message`"},
}
