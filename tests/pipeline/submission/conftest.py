"""A Kubeflow service on loopback, and nothing of the caller's own environment."""

from collections.abc import Iterator

import pytest

from tests.pipeline.submission.kubeflow import Kubeflow
from tests.pipeline.submission.loopback import serve


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    service = Kubeflow()
    with serve(service):
        yield service
