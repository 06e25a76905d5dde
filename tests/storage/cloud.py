"""A strict Cloud Storage on loopback: it enforces generations and checksums, and fails when told to.

The public emulator ignores generation preconditions, and those are what has to be tested. Requests
follow https://cloud.google.com/storage/docs/json_api: list, get, download, multipart and resumable
upload, delete.
"""

import base64
import email
import email.policy
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

PAGE = 3
"""Objects a page of a listing, few, so that every longer listing has several."""


@dataclass
class Stored:
    content: bytes
    generation: int
    metadata: dict[str, str]


@dataclass
class Fault:
    """What happens to the first request that it matches."""

    method: str
    path: str
    """A pattern that is searched for in the path."""
    status: int
    applied: bool
    """Whether the request still does its work and only the answer is lost."""


@dataclass
class Bucket:
    """What a bucket holds, and what was asked of it."""

    objects: dict[str, Stored] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    generation: int = 1000
    lock: threading.RLock = field(default_factory=threading.RLock)
    damage_next: bool = False
    """Whether the next download arrives with other bytes than its checksum is of."""
    short_next: bool = False
    """Whether of the next download only half arrives."""
    ranges: list[int] = field(default_factory=list)
    """Where the ranges began that were asked for."""
    uploads: dict[str, tuple[str, dict[str, str], dict[str, list[str]]]] = field(
        default_factory=dict
    )

    def fail(self, method: str, path: str, status: int = 503, *, applied: bool = False) -> None:
        """Let the next such request fail."""
        self.faults.append(Fault(method, path, status, applied))

    def text(self, name: str) -> str:
        return self.objects[name].content.decode()


def _handler(name: str, bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    objects = f"/storage/v1/b/{name}/o"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 2**16

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def answer(self, status: int, content: object = None, headers: object = None) -> None:
            if content is None:
                content = {} if status < 400 else {"error": {"code": status, "message": "told to"}}
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            if self.fault is not None:
                status, body, headers = self.fault.status, b'{"error": {"message": "lost"}}', None
            self.send_response(status)
            for key, value in (headers or {}).items():  # type: ignore[attr-defined]
                self.send_header(key, value)
            self.send_header("Content-Length", str(0 if status == 204 else len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)
            self.wfile.flush()

        def serve(self) -> None:
            split = urlsplit(self.path)
            self.query = parse_qs(split.query)
            path = unquote(split.path)
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length)
            with bucket.lock:
                bucket.requests.append(f"{self.command} {path}")
                self.fault = next(
                    (
                        fault
                        for fault in bucket.faults
                        if fault.method == self.command and re.search(fault.path, path)
                    ),
                    None,
                )
                if self.fault is not None:
                    bucket.faults.remove(self.fault)
                    if not self.fault.applied:
                        self.answer(self.fault.status)
                        return
                self.route(path)

        do_GET = do_POST = do_PUT = do_DELETE = serve

        def route(self, path: str) -> None:
            if self.command == "GET" and path == objects:
                self.send_page()
            elif self.command == "GET" and path.startswith(f"/download{objects}/"):
                self.download(path.removeprefix(f"/download{objects}/"))
            elif self.command == "GET" and path.startswith(f"{objects}/"):
                self.get(path.removeprefix(f"{objects}/"))
            elif self.command == "POST" and path == f"/upload{objects}":
                self.upload()
            elif self.command == "PUT" and path == f"/upload{objects}":
                self.resume()
            elif self.command == "DELETE" and path.startswith(f"{objects}/"):
                self.delete(path.removeprefix(f"{objects}/"))
            else:
                self.answer(404)

        def unmet(self, name: str, query: dict[str, list[str]]) -> bool:
            wanted = query.get("ifGenerationMatch")
            there = bucket.objects.get(name)
            return wanted is not None and int(wanted[0]) != (there.generation if there else 0)

        def send_page(self) -> None:
            prefix = self.query.get("prefix", [""])[0]
            names = sorted(name for name in bucket.objects if name.startswith(prefix))
            start = int(self.query.get("pageToken", ["0"])[0])
            page: dict[str, object] = {
                "items": [described(name) for name in names[start : start + PAGE]]
            }
            if start + PAGE < len(names):
                page["nextPageToken"] = str(start + PAGE)
            self.answer(200, page)

        def get(self, name: str) -> None:
            self.answer(200, described(name)) if name in bucket.objects else self.answer(404)

        def download(self, name: str) -> None:
            there = bucket.objects.get(name)
            if there is None:
                self.answer(404)
            elif self.unmet(name, self.query):
                self.answer(412)
            else:
                headers = {
                    "X-Goog-Generation": str(there.generation),
                    "X-Goog-Hash": f"crc32c={crc32c(there.content)}",
                }
                damaged, bucket.damage_next = bucket.damage_next, False
                content, status = there.content, 200
                if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                    first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
                    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                    content, status = content[first : last + 1], 206
                    bucket.ranges.append(first)
                content = bytes([content[0] ^ 1]) + content[1:] if damaged else content
                short, bucket.short_next = bucket.short_next, False
                self.answer(status, content[: len(content) // 2] if short else content, headers)

        def upload(self) -> None:
            kind = self.query["uploadType"][0]
            if kind == "resumable":
                named = json.loads(self.body or b"{}")
                session = str(len(bucket.uploads))
                bucket.uploads[session] = (named["name"], named.get("metadata", {}), self.query)
                place = (
                    f"http://{self.headers['Host']}{urlsplit(self.path).path}?upload_id={session}"
                )
                self.answer(200, None, {"Location": place})
                return
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            message = email.message_from_bytes(head + self.body, policy=email.policy.HTTP)
            described, _ = message.iter_parts()  # type: ignore[attr-defined]
            named = json.loads(described.get_payload(decode=True))
            # Not through the parser, which changes line ends.
            boundary = f"--{message.get_boundary()}".encode()
            raw = self.body.split(boundary)[2].split(b"\r\n\r\n", 1)[1][: -len(b"\r\n")]
            self.write(named, raw, self.query)

        def resume(self) -> None:
            name, metadata, query = bucket.uploads[self.query["upload_id"][0]]
            self.write({"name": name, "metadata": metadata}, self.body, query)

        def write(
            self, named: dict[str, object], content: bytes, query: dict[str, list[str]]
        ) -> None:
            name = str(named["name"])
            if self.unmet(name, query):
                self.answer(412)
            elif named.get("crc32c", crc32c(content)) != crc32c(content):
                self.answer(400)
            else:
                bucket.generation += 1
                metadata = dict(named.get("metadata") or {})  # type: ignore[call-overload]
                bucket.objects[name] = Stored(content, bucket.generation, metadata)
                self.answer(200, described(name))

        def delete(self, name: str) -> None:
            if name not in bucket.objects:
                self.answer(404)
            elif self.unmet(name, self.query):
                self.answer(412)
            else:
                del bucket.objects[name]
                self.answer(204)

    def described(object_name: str) -> dict[str, object]:
        there = bucket.objects[object_name]
        return {
            "name": object_name,
            "bucket": name,
            "generation": str(there.generation),
            "metadata": there.metadata,
            "size": str(len(there.content)),
            "crc32c": crc32c(there.content),
        }

    return Handler


def crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


@contextmanager
def serve_bucket(name: str) -> Iterator[tuple[Bucket, str]]:
    """A bucket, and the address under which it is served until the block ends."""
    bucket = Bucket()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(name, bucket))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield bucket, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def client_of(address: str) -> Iterator[Client]:
    """A real client of a served bucket."""
    client = Client(
        project="test",
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=address),
    )
    try:
        yield client
    finally:
        # The library asks about the bucket in a thread of its own, whose connection would stay open.
        for _ in range(500):
            if not client._bucket_metadata_cache._inflight_fetches:
                break
            time.sleep(0.01)
        client.close()
