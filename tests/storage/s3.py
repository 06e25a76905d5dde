"""A strict S3 on loopback: it checks the signature of every request, and fails when told to.

Requests follow https://docs.aws.amazon.com/AmazonS3/latest/API: HeadBucket, HeadObject, and GetObject
with a range. Nothing else is asked of a store, and anything else is answered with 501.
"""

import hashlib
import hmac
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit

KEY, SECRET = "cluster-key", "cluster/secret+key"
CUT = -1
"""In place of a status: half of the answer, then the end of the connection."""
EMPTY = hashlib.sha256(b"").hexdigest()
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([a-z0-9-]+)/s3/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


@dataclass
class Store:
    """What a store holds, and what was asked of it."""

    objects: dict[str, bytes] = field(default_factory=dict)
    """`BUCKET/OBJECT` → content."""
    failures: list[tuple[str, int]] = field(default_factory=list)
    """Pattern of a request's line, and what the next one that it matches gets instead of an answer."""
    requests: list[str] = field(default_factory=list)
    """Method, path, and range where there is one."""
    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which its owner reads it."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


def signature(
    method: str, target: str, headers: Mapping[str, str], signed: str, scope: str, secret: str
) -> str:
    """AWS Signature, Version 4, of a request without a body; `headers` by lower-case name.

    `scope` is DAY/REGION/s3. https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """
    parts = urlsplit(target)
    query = sorted(parse_qsl(parts.query, keep_blank_values=True))
    request = "\n".join(
        [
            method,
            quote(unquote(parts.path), safe="/-_.~"),
            "&".join(
                f"{quote(name, safe='-_.~')}={quote(text, safe='-_.~')}" for name, text in query
            ),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed.split(";")),
            "",
            signed,
            EMPTY,
        ]
    )
    scope = f"{scope}/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _is_signed(method: str, target: str, headers: Mapping[str, str]) -> bool:
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None or found[1] != KEY or headers.get("x-amz-content-sha256") != EMPTY:
        return False
    _, day, region, signed, told = found.groups()
    sent = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    fresh = abs(datetime.now(UTC) - sent) < timedelta(minutes=15)
    whole = {"host", "x-amz-content-sha256", "x-amz-date"} <= set(signed.split(";"))
    expected = signature(method, target, headers, signed, f"{day}/{region}/s3", SECRET)
    return fresh and whole and headers["x-amz-date"].startswith(day) and told == expected


def _handler(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            headers = {name.lower(): text for name, text in self.headers.items()}
            line = f"{self.command} {self.path} {headers.get('range', '')}".strip()
            store.requests.append(line)
            failure = self.failure(line)
            if failure > 0:
                self.reply(failure)
            elif not _is_signed(self.command, self.path, headers):
                self.reply(403)
            elif "?" in self.path:
                self.reply(501)
            else:
                self.answer(unquote(self.path[1:]), headers.get("range"), cut=failure == CUT)

        do_GET = do_HEAD

        def answer(self, name: str, span: str | None, *, cut: bool) -> None:
            if "/" not in name and self.command == "HEAD":
                there = any(one.startswith(f"{name}/") for one in store.objects)
                self.reply(200 if there else 404)
            elif name not in store.objects:
                self.reply(404)
            elif span is None:
                self.reply(200, store.objects[name], cut=cut)
            else:
                first, last = map(int, span.removeprefix("bytes=").split("-"))
                content = store.objects[name]
                told = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
                self.reply(206, content[first : last + 1], told, cut=cut)

        def failure(self, line: str) -> int:
            for one in store.failures:
                if re.search(one[0], line):
                    store.failures.remove(one)
                    return one[1]
            return 0

        def reply(
            self,
            status: int,
            content: bytes = b"",
            headers: Mapping[str, str] | None = None,
            *,
            cut: bool = False,
        ) -> None:
            self.send_response(status)
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = cut

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serve_store() -> Iterator[Store]:
    """A store, served until the block ends."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store))
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
