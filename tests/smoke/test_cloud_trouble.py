"""What a user reads when Cloud Storage refuses: one sentence, exit code 2, nothing half-registered."""

import json
import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.smoke.test_bad_input import one_message
from tests.storage.cloud import serve_bucket

DENIED = (
    "ann@example.com does not have storage.objects.get access. Permission 'storage.objects.get'"
)
PROJECT = "The billing account for the owning project is disabled"
# The library leaves the connection of a request that was refused to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
TROUBLES = {
    "no permission": (403, DENIED, ["no permission", "ann@example.com", "roles/storage"]),
    "wrong project": (403, PROJECT, ["the project cannot be used", "GOOGLE_CLOUD_PROJECT"]),
    "expired": (401, "Invalid Credentials", ["not valid", "application-default login"]),
    "no bucket": (404, "The specified bucket does not exist.", ["the bucket does not exist"]),
}


def commands(home: Path) -> dict[str, list[str]]:
    where = ["--home", str(home)]
    registry = ["--registry", "gs://shop/registry", *where]
    return {
        "run": ["run", "--interactions", "gs://shop/log.csv", *where],
        "run with registry": ["run", "--interactions", "sample:", *registry],
        "registry": ["registry", "list", *registry],
        "promote": ["registry", "promote", "1", "--reason", "r", *registry],
        "recommend": ["recommend", *registry],
        "recommend to": ["recommend", "--output", "gs://shop/x.parquet", *where],
    }


def require_sentence(finished, home: Path, words: list[str]) -> None:
    assert finished.code == 2, finished.out + finished.err
    message = one_message(finished.err)
    for word in ("gs://shop/", *words):
        assert word in message
    assert len([line for line in message.splitlines() if line and "(log:" not in line]) == 1
    assert not (home / "registry").exists()
    assert not list(home.rglob("manifest.json"))


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        *(("registry", trouble) for trouble in TROUBLES),
        ("recommend to", "expired"),
    ],
)
def test_a_refusal_ends_with_2_and_says_which(
    command_here, tmp_path: Path, name: str, trouble: str
) -> None:
    refused(command_here, tmp_path, name, trouble)


@pytest.mark.parametrize("trouble", ["no permission", "no bucket"])
def test_a_run_that_is_refused_ends_with_2_and_says_which(
    command, tmp_path: Path, trouble: str
) -> None:
    refused(command, tmp_path, "run", trouble)


def refused(command, home: Path, name: str, trouble: str) -> None:
    status, message, words = TROUBLES[trouble]
    with serve_bucket("shop") as (bucket, address):
        for method in ("GET", "POST", "PUT"):
            bucket.fail(method, "/storage/", status, message=message, always=True)
        finished = command(*commands(home)[name], STORAGE_EMULATOR_HOST=address)
        assert bucket.objects == {}
    require_sentence(finished, home, words)


@pytest.mark.parametrize("name", ["run with registry", "promote", "recommend"])
def test_a_bucket_that_is_not_there_is_told_by_every_command(
    command_here, tmp_path: Path, name: str
) -> None:
    with serve_bucket("other") as (_, address):
        finished = command_here(*commands(tmp_path)[name], STORAGE_EMULATOR_HOST=address)
    require_sentence(finished, tmp_path, ["the bucket does not exist"])


def key_file(tmp_path: Path, token_uri: str) -> str:
    """A service account's key, whose tokens are asked for at `token_uri`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    described = {
        "type": "service_account",
        "project_id": "shop",
        "client_email": "run@shop.iam.gserviceaccount.com",
        "private_key": pem.decode(),
        "token_uri": token_uri,
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(described))
    return str(path)


def test_credentials_that_nobody_renews_are_told(command_here, tmp_path: Path) -> None:
    with serve_bucket("tokens") as (bucket, address):
        bucket.fail("POST", "/token", 400, message="invalid_grant", always=True)
        finished = command_here(
            *commands(tmp_path)["registry"],
            GOOGLE_APPLICATION_CREDENTIALS=key_file(tmp_path, f"{address}/token"),
        )
    require_sentence(finished, tmp_path, ["have expired or are not valid", "key file"])


def test_a_machine_without_credentials_is_told(command_here, tmp_path: Path) -> None:
    finished = command_here(
        *commands(tmp_path)["registry"],
        GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "absent.json"),
    )
    assert finished.code == 2
    message = one_message(finished.err)
    assert "no credentials on this machine" in message
    assert "application-default login" in message


@pytest.mark.slow
def test_a_service_that_cannot_be_reached_is_told_after_half_a_minute(
    command, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    finished = command(*commands(tmp_path)["registry"], STORAGE_EMULATOR_HOST=address)
    require_sentence(finished, tmp_path, ["127.0.0.1 cannot be reached", "check the network"])
