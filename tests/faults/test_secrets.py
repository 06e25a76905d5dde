"""Row 17: secrets that are in the environment and in files reach no log, artifact, page or summary."""

import json
import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from pipeline.cli import app
from tests.conftest import ROOT
from tests.faults.conftest import Tell
from tests.faults.test_signing import pem
from tests.pipeline.submission.calls import IMAGE, RUN
from tests.pipeline.submission.kubeflow import Kubeflow
from tests.pipeline.submission.loopback import serve
from tests.smoke.conftest import TINY

SAMPLE = "sample:users=300,items=80,interactions=6000"


def canary(name: str) -> str:
    """A word that stands nowhere else."""
    return f"CANARY{name.replace('_', '')}7f3a9c51d2e8"


@dataclass
class Secrets:
    """Secrets in an environment and in files, and what was said and written while they were there."""

    folder: Path
    said: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        private, public = pem(ec.generate_private_key(ec.SECP256R1()))
        self._signing = private.splitlines()[1]
        account = {
            "type": "service_account",
            "client_email": f"{canary('email')}@example.org",
            "private_key": f"-----BEGIN PRIVATE KEY-----\n{canary('account')}\n",
            "private_key_id": canary("keyid"),
            "token_uri": "http://127.0.0.1:9/token",
        }
        (self.folder / "account.json").write_text(json.dumps(account))
        (self.folder / "token").write_text(canary("bearer"))
        (self.folder / "public.pem").write_text(public)
        proxy = f"http://{canary('proxyuser')}:{canary('proxy')}@127.0.0.1:9"
        self.environment = {
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.folder / "account.json"),
            "SLMREC_DASHBOARD_TOKEN": canary("dashboard"),
            "SLMREC_SIGNING_KEY": private,
            "SLMREC_PUBLIC_KEY": str(self.folder / "public.pem"),
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "",
            **{
                name: canary(name)
                for name in (
                    *("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WANDB_API_KEY"),
                    *("GITHUB_TOKEN", "DATABASE_PASSWORD", "OPENAI_API_KEY", "MLFLOW_TRACKING_TOKEN"),
                )
            },
        }  # fmt: skip

    @property
    def words(self) -> list[bytes]:
        """What may be found nowhere: the secrets, and a proxy's in the form in which it is sent."""
        names = [value for value in self.environment.values() if value.startswith("CANARY")]
        made = [
            canary(one) for one in ("account", "keyid", "email", "bearer", "proxy", "proxyuser")
        ]
        pair = b64encode(f"{canary('proxyuser')}:{canary('proxy')}".encode()).decode()
        return [word.encode() for word in (*names, *made, pair, self._signing)]

    def call(self, *arguments: str, timeout: float = 900) -> int:
        """`python -m pipeline …` with the secrets around it; keeps what it said."""
        ran = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=ROOT,
            env=os.environ | self.environment,
            capture_output=True,
            timeout=timeout,
        )
        self.said += [ran.stdout, ran.stderr]
        return ran.returncode

    def leaks(self, *folders: Path) -> list[str]:
        """Where a secret was found in what was said and in every file below some folders."""
        found = [f"output {n}" for n, text in enumerate(self.said) if self._in(text)]
        for folder in folders:
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert files
            found += [str(path) for path in files if self._in(path.read_bytes())]
            found += [str(path) for path in folder.rglob("*") if self._in(str(path).encode())]
        return found

    def _in(self, content: bytes) -> bool:
        return any(word in content for word in self.words)


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path / "secrets")


def test_a_leak_is_found_when_there_is_one(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "written").mkdir()
    (tmp_path / "written" / "sound").write_text("sound")
    assert secrets.leaks(tmp_path / "written") == []
    for number, word in enumerate(secrets.words):
        (tmp_path / "written" / str(number)).write_bytes(b"x" + word + b"y")
    assert len(secrets.leaks(tmp_path / "written")) == len(secrets.words) >= 15
    secrets.said.append(b"token " + secrets.words[0])
    assert "output 0" in secrets.leaks(tmp_path / "written")


def submit(service: Kubeflow, secrets: Secrets) -> str:
    """What `submit` says to a service."""
    arguments = ["submit", "--target", "kfp", "--host", service.url, "--image", IMAGE, *RUN[:2]]
    result = CliRunner().invoke(
        app, [*arguments, "--token-file", str(secrets.folder / "token")], env=secrets.environment
    )
    return f"{result.output}{result.exception!r}{result.exception}"


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 500])
def test_a_token_is_not_said_when_a_service_says_it_back(status: int, secrets: Secrets) -> None:
    service = Kubeflow()
    echo = {"error": {"message": f"bad token Bearer {canary('bearer')}, {canary('bearer')}"}}
    if status != 200:
        service.failures = {".": (status, echo)}
    with serve(service):
        secrets.said.append(submit(service, secrets).encode())
    sent = [one.headers.get("Authorization") for one in service.asked]
    assert f"Bearer {canary('bearer')}" in sent  # so there was something to leak
    assert secrets.leaks() == []


@pytest.mark.parametrize(
    "address", ["http://me:{0}@host", "me:{0}@host", "https://{0}@host:x", "ftp://me:{0}@host/a"]
)
def test_credentials_in_an_address_are_not_said_back(address: str, secrets: Secrets) -> None:
    result = CliRunner().invoke(
        app,
        ["submit", "--target", "kfp", "--host", address.format(canary("HF_TOKEN")), *RUN],
        env=secrets.environment,
    )
    assert "leave them out" in str(result.exception)
    secrets.said.append(f"{result.output}{result.exception!r}".encode())
    assert secrets.leaks() == []


@contextmanager
def dashboard(home: Path, secrets: Secrets) -> Iterator[str]:
    """The dashboard as its verb starts it; what it said is kept when it has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "dashboard", "--home", str(home), "--port", str(port)],
        cwd=ROOT,
        env=os.environ | secrets.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            httpx.get(f"{address}/login", timeout=5)
            break
        except httpx.TransportError:
            time.sleep(0.2)
    yield address
    process.terminate()
    secrets.said.append(process.communicate(timeout=30)[0])


@pytest.mark.faults
def test_no_secret_is_found_after_a_run_its_pages_and_its_failures(
    secrets: Secrets, tmp_path: Path, tell: Tell
) -> None:
    home = tmp_path / "home"
    place = ("--home", str(home))
    tiny = [part for setting in TINY for part in ("--set", setting)]
    assert secrets.call("run", "--interactions", SAMPLE, *tiny, *place, "--json") == 0
    kfp = ("submit", "--target", "kfp")
    for arguments in (
        ["run", "--interactions", "gs://nowhere/log.csv", *place],
        ["run", "--interactions", str(tmp_path / "absent.csv"), *place],
        [
            *("run", "--interactions", SAMPLE, *tiny, *place, "--force"),
            *("--set", "train_teacher.kind=pretrained"),
            *("--set", "train_teacher.pretrained.checkpoint=nobody/no-such-model"),
        ],
        ["run", "--interactions", SAMPLE, "--set", "train_teacher.layers=none", *place],
        ["submit", "--target", "vertex", "--project", "p", "--location", "l", *RUN],
        [*kfp, "--host", "https://127.0.0.1:9", "--token-file", str(secrets.folder / "token"), *RUN],
        ["datasets", "fetch", "movielens-100k", "--output", str(tmp_path / "fetched")],
        ["registry", "sign", "99", *place],
        ["registry", "sign", "1", "--key", str(secrets.folder / "token"), *place],
    ):  # fmt: skip
        assert secrets.call(*arguments) != 0, arguments
    assert secrets.call("registry", "show", "1", *place) == 0
    assert secrets.call("doctor", *place) == 0
    with dashboard(home, secrets) as address:
        shown = {"authorization": f"Bearer {canary('dashboard')}"}
        for path in ("/api", "/api/runs", "/api/models", "/api/nothing", "/api/openapi.json"):
            secrets.said.append(httpx.get(address + path, headers=shown, timeout=30).content)
        for path in ("/login", "/", "/nothing"):
            secrets.said.append(httpx.get(address + path, timeout=30).content)
        wrong = {"token": "x", "name": "ann", "form_token": "x"}
        secrets.said.append(httpx.post(f"{address}/login", data=wrong, timeout=30).content)
    assert secrets.call("dashboard", *place, "--export", str(tmp_path / "export")) == 0
    assert secrets.leaks(home, tmp_path / "export") == []
    files = sum(path.is_file() for path in home.rglob("*"))
    tell(
        17,
        "secrets never reach logs, artifacts, HTML or summaries",
        "0 hits",
        f"{len(secrets.words)} canaries; 0 hits in {files} files of a home, an export and "
        f"{len(secrets.said)} outputs",
    )
