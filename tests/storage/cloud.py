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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from slmrec.storage.patience import Patience
from tests.storage.faults import AFTER, Plan

PAGE = 3
"""Objects a page of a listing, few, so that every longer listing has several."""
QUANTUM = 256
"""Bytes of which every chunk but the last must be a multiple; of the real service 256 KiB."""
QUICK = Patience(silence=5, first_wait=0.01, longest_wait=0.05, deadline=20, unreachable=0.2)
"""For tests, which cannot wait as long as people can."""


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
    message: str
    always: bool


@dataclass
class Upload:
    """A resumable upload: what it is to become, and what has arrived."""

    named: dict[str, object]
    query: dict[str, list[str]]
    content: bytes = b""
    written: dict[str, object] | None = None


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Bucket:
    """What a bucket holds, and what was asked of it."""

    objects: dict[str, Stored] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    plan: Plan | None = None
    requests: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    """Names in the order in which objects were written."""
    generation: int = 1000
    lock: threading.RLock = field(default_factory=threading.RLock)
    damage_next: int = 0
    """How many of the next downloads arrive with other bytes than their checksum is of."""
    short_next: bool = False
    """Whether of the next download only half arrives."""
    ranges: list[int] = field(default_factory=list)
    """Where the ranges began that were asked for."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    page: int = PAGE
    received: int = 0
    """Bytes of all chunks of resumable uploads."""

    def fail(
        self,
        method: str,
        path: str,
        status: int = 503,
        *,
        applied: bool = False,
        message: str = "told to",
        always: bool = False,
    ) -> None:
        """Let the next such request fail, or each."""
        self.faults.append(Fault(method, path, status, applied, message, always))

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

        def serve(self) -> None:
            split = urlsplit(self.path)
            self.query = parse_qs(split.query)
            path = unquote(split.path)
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length)
            with bucket.lock:
                bucket.requests.append(f"{self.command} {path}")
                answer = self.told_to_fail(path)
                fault = "" if answer else self.drawn(path)
                if fault == "less":
                    self.body = self.body[: len(self.body) // 2]
                if answer is None and (not fault or fault in AFTER or fault == "less"):
                    answer = self.route(path)
                elif fault == "part":
                    self.keep_half()
            if answer is None or fault in ("lost", "late"):
                if fault in ("stall", "late"):
                    bucket.plan.stall()
                if fault.isdecimal():
                    answer = failure(int(fault))
                else:
                    self.close_connection = True  # without a word
                    return
            self.send(failure(503) if fault == "busy" else answer, fault)

        do_GET = do_POST = do_PUT = do_DELETE = serve

        def told_to_fail(self, path: str) -> Answer | None:
            fault = next(
                (
                    fault
                    for fault in bucket.faults
                    if fault.method == self.command and re.search(fault.path, path)
                ),
                None,
            )
            if fault is None:
                return None
            if not fault.always:
                bucket.faults.remove(fault)
            if fault.applied:
                self.route(path)
            return failure(fault.status, fault.message)

        def drawn(self, path: str) -> str:
            if bucket.plan is None or path == f"/storage/v1/b/{name}":  # the library's own question
                return ""
            return bucket.plan.draw(chunk=self.command == "PUT" and len(self.body) > QUANTUM)

        def keep_half(self) -> None:
            self.body = self.body[: len(self.body) // 2]
            self.resume()

        def send(self, answer: Answer, fault: str) -> None:
            body = answer.body
            half = body[: len(body) // 2]
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            stated = len(half if fault == "short" else body)
            self.send_header("Content-Length", str(0 if answer.status == 204 else stated))
            self.end_headers()
            if answer.status != 204:
                self.wfile.write(half if fault in ("short", "truncated") else body)
            with suppress(OSError):  # nobody waits any more
                self.wfile.flush()
            self.close_connection |= fault == "truncated"

        def route(self, path: str) -> Answer:
            if self.command == "GET" and path == objects:
                return self.page()
            if self.command == "GET" and path.startswith(f"/download{objects}/"):
                return self.download(path.removeprefix(f"/download{objects}/"))
            if self.command == "GET" and path.startswith(f"{objects}/"):
                return self.get(path.removeprefix(f"{objects}/"))
            if self.command == "POST" and path == f"/upload{objects}":
                return self.upload()
            if self.command == "PUT" and path == f"/upload{objects}":
                return self.resume()
            if self.command == "DELETE" and path.startswith(f"{objects}/"):
                return self.delete(path.removeprefix(f"{objects}/"))
            return failure(404, "The specified bucket does not exist.")

        def unmet(self, name: str, query: dict[str, list[str]]) -> bool:
            wanted = query.get("ifGenerationMatch")
            there = bucket.objects.get(name)
            return wanted is not None and int(wanted[0]) != (there.generation if there else 0)

        def page(self) -> Answer:
            prefix = self.query.get("prefix", [""])[0]
            names = sorted(name for name in bucket.objects if name.startswith(prefix))
            start = int(self.query.get("pageToken", ["0"])[0])
            page: dict[str, object] = {
                "items": [described(name) for name in names[start : start + bucket.page]]
            }
            if start + bucket.page < len(names):
                page["nextPageToken"] = str(start + bucket.page)
            return success(page)

        def get(self, name: str) -> Answer:
            return success(described(name)) if name in bucket.objects else no_object(name)

        def download(self, name: str) -> Answer:
            there = bucket.objects.get(name)
            if there is None:
                return no_object(name)
            if self.unmet(name, self.query):
                return failure(412)
            headers = {
                "X-Goog-Generation": str(there.generation),
                "X-Goog-Hash": f"crc32c={crc32c(there.content)}",
            }
            content, status = there.content, 200
            if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                content, status = content[first : last + 1], 206
                bucket.ranges.append(first)
            if bucket.damage_next:
                bucket.damage_next -= 1
                content = bytes([content[0] ^ 1]) + content[1:]
            short, bucket.short_next = bucket.short_next, False
            return Answer(status, content[: len(content) // 2] if short else content, headers)

        def upload(self) -> Answer:
            kind = self.query["uploadType"][0]
            if kind == "resumable":
                named = json.loads(self.body or b"{}")
                if self.unmet(str(named["name"]), self.query):
                    return failure(412)
                session = str(len(bucket.uploads))
                bucket.uploads[session] = Upload(named, self.query)
                place = (
                    f"http://{self.headers['Host']}{urlsplit(self.path).path}?upload_id={session}"
                )
                return success({}, Location=place)
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            message = email.message_from_bytes(head + self.body, policy=email.policy.HTTP)
            described, _ = message.iter_parts()  # type: ignore[attr-defined]
            named = json.loads(described.get_payload(decode=True))
            # Not through the parser, which changes line ends.
            boundary = f"--{message.get_boundary()}".encode()
            raw = self.body.split(boundary)[2].split(b"\r\n\r\n", 1)[1][: -len(b"\r\n")]
            return self.write(named, raw, self.query)

        def resume(self) -> Answer:
            session = bucket.uploads.get(self.query["upload_id"][0])
            if session is None:
                return failure(410)
            if session.written is not None:
                return success(session.written)
            where = re.fullmatch(r"bytes (\*|\d+-\d+)/(\d+)", self.headers["Content-Range"])
            first, _, last = where[1].partition("-")
            total = int(where[2])
            if first != "*":
                bucket.received += len(self.body)
                there = len(session.content)
                uneven = int(last) + 1 != total and (int(last) + 1 - int(first)) % QUANTUM
                if int(first) > there or uneven:
                    return failure(400)
                session.content += self.body[there - int(first) :]
            if len(session.content) < total:
                last_kept = len(session.content) - 1
                kept = {"Range": f"bytes=0-{last_kept}"} if session.content else {}
                return Answer(308, b"", kept)
            answer = self.write(session.named, session.content, session.query)
            if answer.status == 200:
                session.written = json.loads(answer.body)
            else:
                del bucket.uploads[self.query["upload_id"][0]]
            return answer

        def write(
            self, named: dict[str, object], content: bytes, query: dict[str, list[str]]
        ) -> Answer:
            name = str(named["name"])
            if self.unmet(name, query):
                return failure(412)
            if named.get("crc32c", crc32c(content)) != crc32c(content):
                return failure(400, "Provided CRC32C doesn't match calculated CRC32C.")
            bucket.generation += 1
            bucket.writes.append(name)
            metadata = dict(named.get("metadata") or {})  # type: ignore[call-overload]
            bucket.objects[name] = Stored(content, bucket.generation, metadata)
            return success(described(name))

        def delete(self, name: str) -> Answer:
            if name not in bucket.objects:
                return no_object(name)
            if self.unmet(name, self.query):
                return failure(412)
            del bucket.objects[name]
            return Answer(204, b"")

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

    def no_object(object_name: str) -> Answer:
        return failure(404, f"No such object: {name}/{object_name}")

    return Handler


def crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


def success(content: object, **headers: str) -> Answer:
    return Answer(200, json.dumps(content).encode(), headers)


def failure(status: int, message: str = "told to") -> Answer:
    return Answer(status, json.dumps({"error": {"code": status, "message": message}}).encode())


@contextmanager
def serve_bucket(name: str) -> Iterator[tuple[Bucket, str]]:
    """A bucket, and the address under which it is served until the block ends."""
    bucket = Bucket()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(name, bucket))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that went away
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
