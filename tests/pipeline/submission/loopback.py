"""A JSON service on 127.0.0.1 whose requests are kept, and that fails where a test says so."""

import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.content)

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


CUT = "an answer whose connection ends in the middle of it"
GONE = "no answer: the connection ends"


class Refusal(Exception):
    """Ends a request with a status and a body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass
class Service(ABC):
    """What a test's service keeps; subclasses say what it answers."""

    asked: list[Asked] = field(default_factory=list)
    failures: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """Pattern of a request's line → the status and body that it gets instead of an answer."""
    wrong: list[BaseException] = field(default_factory=list)
    """What a request did not stand up to; an answer of 500 alone would be told as the client's luck."""
    url: str = ""

    @abstractmethod
    def answer(self, asked: Asked) -> Any:
        """The JSON of an answer."""

    def lines(self, *methods: str) -> list[str]:
        """What was asked for so far, by method."""
        return [one.line for one in self.asked if one.method in (methods or (one.method,))]

    def reply(self, asked: Asked) -> tuple[int, Any]:
        self.asked.append(asked)
        for pattern, failure in self.failures.items():
            if re.search(pattern, asked.line):
                return failure
        try:
            return 200, self.answer(asked)
        except Refusal as refusal:
            return refusal.status, refusal.body
        except BaseException as error:
            self.wrong.append(error)
            return 500, {"message": f"the test's service: {error!r}"}


@contextmanager
def serve(service: Service) -> Iterator[None]:
    """Serve until the end of the block, then raise what was wrong with the requests."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = dict(parse_qsl(parts.query))
            status, body = service.reply(
                Asked(self.command, parts.path, query, dict(self.headers), content)
            )
            if body in (CUT, GONE):
                self.close_connection = True
                if body == CUT:
                    self.send_response(status)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                return
            text = body if isinstance(body, str | bytes) else json.dumps(body)
            sent = text.encode() if isinstance(text, str) else text
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", service.url + "/login")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            with suppress(ConnectionError):  # whoever asked waits no more
                self.end_headers()
                self.wfile.write(sent)

        do_GET = do_POST = do_DELETE = handle_one

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    for error in service.wrong:
        raise error


def page(found: list[Any], token: str, size: int = 2) -> tuple[list[Any], str]:
    """A page of a list, few to a page so that every longer list has several, and the next token."""
    start = int(token or 0)
    after = start + size
    return found[start:after], str(after) if after < len(found) else ""
