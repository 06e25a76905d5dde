"""A bucket on loopback, and each kind of service that ran the same small run."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import google.auth
import pytest
from google.oauth2.credentials import Credentials

from tests.pipeline.fetching.kubeflow_ran import KubeflowRan
from tests.pipeline.fetching.ran import BUCKET, Ran, of_events, small_run
from tests.pipeline.fetching.vertex_ran import VertexRan
from tests.pipeline.submission.loopback import serve
from tests.storage.cloud import Bucket, serve_bucket

Place = KubeflowRan | VertexRan


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(google.auth, "default", lambda scopes: (Credentials("valid"), "other"))
    with serve_bucket(BUCKET) as (served, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the run that the services ran, as this machine would have left it."""
    return small_run(tmp_path / "local")


@pytest.fixture
def ran(folder: Path, bucket: Bucket) -> Ran:
    return of_events(folder, bucket)


@dataclass(frozen=True)
class Ask:
    """A service, and how it is asked."""

    service: Place
    options: tuple[str, ...]


@pytest.fixture
def start() -> Iterator[Callable[[str], Ask]]:
    """Starts a service of a kind: `kfp`, `kfp-before-3` or `vertex`."""
    with ExitStack() as stack:

        def start(kind: str) -> Ask:
            service = VertexRan() if kind == "vertex" else KubeflowRan(native=kind == "kfp")
            stack.enter_context(serve(service))
            if kind == "vertex":
                where = ("--project", "shop", "--location", "europe-west4")
                return Ask(service, ("--target", "vertex", *where, "--endpoint", service.url))
            return Ask(service, ("--target", "kfp", "--host", service.url))

        yield start
