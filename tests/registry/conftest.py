import pytest

from slmrec.registry.decisions import DecisionLog
from slmrec.registry.store import Registry
from slmrec.registry.versions import Versions
from slmrec.storage.bucket import Bucket
from slmrec.storage.documents import Folder
from tests.registry.registries import (
    FACTS,
    WHEN,
    artifact,
)
from tests.storage.cloud import QUICK, client_of, serve_bucket


@pytest.fixture
def add(tmp_path):
    def add(registry, model=1, evaluation=1, code="code"):
        return registry.add(
            artifact(tmp_path / f"model-{model}", "servable", model),
            artifact(tmp_path / f"evaluation-{evaluation}", "evaluation", evaluation),
            artifact(tmp_path / "timings", "timings", 0),
            FACTS,
            code_digest=code,
            settings_digest="settings",
            time=WHEN,
        )

    return add


@pytest.fixture(params=["folder", "bucket"])
def documents(request, tmp_path):
    if request.param == "folder":
        yield Folder(tmp_path / "registry")
        return
    with serve_bucket("models") as (bucket, address), client_of(address) as client:
        bucket.page = 25  # pages are turned elsewhere
        yield Bucket("gs://models/registry", client=client, patience=QUICK)


@pytest.fixture
def registry(documents):
    return Registry(documents)


@pytest.fixture
def cut_short(monkeypatch):
    """Lets an addition end before its version is recorded."""

    def cut_short(call):
        def die(self, number):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Versions, "get", die)
            patched.setattr(Versions, "artifact", lambda self, number, part: die(self, number))
            with pytest.raises(KeyboardInterrupt):
                call()

    return cut_short


@pytest.fixture
def crash(monkeypatch):
    """Lets the next decision move the pointer and then end before it is logged."""

    def crash(call):
        def die(self, decision):
            if decision not in self.read():
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(DecisionLog, "write", die)
            with pytest.raises(KeyboardInterrupt):
                call()

    return crash
