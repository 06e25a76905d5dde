"""What several folders of tests share: tiny sequences that can be checked by hand."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from slmrec.data.sequences import Sequences

ROOT = Path(__file__).resolve().parents[1]
# An example that takes long says that the machine is busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


LONGEST = (
    *("tests/smoke/test_run", "tests/pipeline/test_two_machines", "tests/dashboard/test_browser"),
    *("tests/test_worked_examples", "tests/studies/test_studies", "tests/components/"),
    *("tests/pipeline/test_study", "tests/pipeline/test_release", "tests/faults/test_kills"),
    *("tests/training/test_parallel", "tests/training/test_allocator", "tests/smoke/"),
)
"""Files that take minutes begin first: at the end one worker would wait for another."""
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage from here on, and not among the half a million objects of imports."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order what is run by `LONGEST`, all else as it was found."""

    def place(item: pytest.Item) -> int:
        return next((n for n, path in enumerate(LONGEST) if item.nodeid.startswith(path)), 99)

    items.sort(key=place)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; the test is skipped, visibly, where there is none."""
    folder = Path(os.environ.get("SLMREC_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SLMREC_DATA to its folder")
    return folder


def leave_two_out(histories: list[list[int]]) -> Sequences:
    """Sequences whose last two items a user are validation and test; time is the position."""
    lengths = [len(history) for history in histories]
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    items = np.concatenate([np.asarray(h, dtype=np.int32) for h in histories])
    return Sequences(
        offsets=offsets,
        items=items,
        timestamps=np.arange(len(items), dtype=np.int64),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=int(items.max()),
    )


@pytest.fixture
def make_sequences() -> Callable[[list[list[int]]], Sequences]:
    """`leave_two_out`, for tests that make their own histories."""
    return leave_two_out


@pytest.fixture
def cycles() -> Sequences:
    """Sixty users who walk the circle 1 → 2 → … → 12 → 1, each from another place: wholly learnable."""
    return leave_two_out([[(user + step) % 12 + 1 for step in range(9)] for user in range(60)])


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a Llama of three layers, 32 wide, with a tokenizer of 27 words."""
    from tests.language_models import save_llama

    return save_llama(tmp_path_factory.mktemp("language-model") / "tiny-llama")


@dataclass
class Loopback:
    """A file server on this machine whose faults a test chooses."""

    files: dict[str, bytes] = field(default_factory=dict)
    tag: str = '"one"'
    """ETag of every file."""
    ranges: bool = True
    """Whether a part of a file can be asked for."""
    break_after: list[int] = field(default_factory=list)
    """Of each coming answer, after how many bytes of the body the connection ends."""
    answers: list[int] = field(default_factory=list)
    """Statuses that come before any file does."""
    length: str | None = None
    """Content-Length instead of the true one; empty for none."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(path, Range) of each request so far."""
    redirects: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one GET."""
        wanted = handler.headers.get("Range", "")
        self.asked.append((handler.path, wanted))
        name = handler.path.lstrip("/")
        if self.answers:
            handler.send_error(self.answers.pop(0))
        elif name in self.redirects:
            handler.send_response(302)
            handler.send_header("Location", self.redirects[name])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif name not in self.files:
            handler.send_error(404)
        else:
            self._send(handler, self.files[name], wanted)

    def _send(self, handler: BaseHTTPRequestHandler, content: bytes, wanted: str) -> None:
        start = 0
        if wanted and self.ranges and handler.headers.get("If-Range") in (None, self.tag):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        body = content[start:]
        handler.send_header("ETag", self.tag)
        if self.length != "":
            handler.send_header("Content-Length", self.length or str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.break_after.pop(0)] if self.break_after else body)
        handler.close_connection = True


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A file server on 127.0.0.1 that ends with the test."""
    served = Loopback()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()
