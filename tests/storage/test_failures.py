"""What people read when Cloud Storage does not do what they asked for: which fault, and what to do."""

import socket
import time

import pytest
from google.api_core import exceptions as api
from google.api_core.client_options import ClientOptions
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from requests import ConnectionError as NoConnection

from slmrec.errors import SlmrecError, SourceMissingError
from slmrec.storage.bucket import Bucket
from slmrec.storage.failures import reaching
from slmrec.storage.files import describe, fetch, list_objects
from tests.storage.cloud import QUICK, client_of, serve_bucket

# The service's own words.
DENIED = (
    "ann@example.com does not have storage.objects.get access to the Google Cloud Storage object. "
    "Permission 'storage.objects.get' denied on resource (or it may not exist)."
)
CLOSED = "The billing account for the owning project is disabled in state absent"
UNKNOWN_PROJECT = "User project specified in the request is invalid."
NO_USE = (
    "Caller does not have required permission to use project shop. Grant the caller the "
    "roles/serviceusage.serviceUsageConsumer role"
)
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def served():
    with serve_bucket("models") as (bucket, address), client_of(address) as client:
        yield bucket, client


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (403, DENIED, ["no permission", "ann@example.com", "roles/storage.objectViewer"]),
        (403, CLOSED, ["the project cannot be used", "GOOGLE_CLOUD_PROJECT"]),
        (400, UNKNOWN_PROJECT, ["the project cannot be used", "set-quota-project"]),
        (403, NO_USE, ["the project cannot be used", "project shop"]),
        (401, "Invalid Credentials", ["are not valid", "application-default login"]),
        (404, "The specified bucket does not exist.", ["the bucket does not exist", "name"]),
    ],
)
def test_a_refusal_says_which_and_what_to_do_at_once(served, tmp_path, status, message, words):
    bucket, client = served
    bucket.fail("GET", "/storage/", status, message=message, always=True)
    started = time.monotonic()
    for call in (
        lambda: describe("gs://models/log.csv", client=client, patience=QUICK),
        lambda: list_objects("gs://models/day/", client=client, patience=QUICK),
        lambda: Bucket("gs://models/registry", client=client, patience=QUICK).names("versions"),
        lambda: fetch("gs://models/log.csv", tmp_path, client=client, patience=QUICK),
    ):
        with pytest.raises(SourceMissingError) as caught:
            call()
        told = str(caught.value)
        assert "\n" not in told
        assert told.startswith("gs://models/")
        for word in words:
            assert word in told
    assert time.monotonic() - started < QUICK.deadline / 2  # what does not pass is not waited for


def test_an_object_that_is_missing_is_told_from_a_bucket_that_is(served):
    client = served[1]
    with pytest.raises(SourceMissingError, match=r"gs://models/absent: no such object; check"):
        describe("gs://models/absent", client=client, patience=QUICK)
    with pytest.raises(SourceMissingError, match=r"gs://modles/x: .*the bucket does not exist"):
        describe("gs://modles/x", client=client, patience=QUICK)


def test_a_host_that_does_not_answer_is_given_up_sooner_than_one_that_fails():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ClientOptions(api_endpoint=f"http://127.0.0.1:{port}")
    client = Client(project="test", credentials=AnonymousCredentials(), client_options=options)
    started = time.monotonic()
    with pytest.raises(
        SourceMissingError, match=r"127\.0\.0\.1 cannot be reached\); check the net"
    ):
        Bucket("gs://models/registry", client=client, patience=QUICK).read("x")
    assert QUICK.unreachable <= time.monotonic() - started < QUICK.deadline / 2
    client.close()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            auth.DefaultCredentialsError("Your default credentials were not found."),
            "no credentials",
        ),
        (auth.RefreshError("Reauthentication is needed. Please run gcloud"), "have expired"),
        (auth.RefreshError("('invalid_grant: Bad Request', {'error': 1})"), "have expired"),
        (auth.TransportError(NoConnection("oauth2.googleapis.com")), "renews credentials"),
        (api.Unauthorized("Invalid Credentials"), "have expired or are not valid"),
        (OSError("Project was not passed and could not be determined"), "no project is set"),
        (api.RetryError("Timeout of 600.0s exceeded", api.ServiceUnavailable("busy")), "busy"),
        (api.PreconditionFailed("412"), "replaced meanwhile"),
        (TimeoutError("timed out"), "the connection broke"),
    ],
)
def test_failures_of_credentials_and_network_are_told(error, words):
    with pytest.raises(SourceMissingError, match=words) as caught, reaching("gs://b/x", "failed"):
        raise error
    assert caught.value.exit_code == 2
    assert str(caught.value).count("; ") >= 1


def test_a_full_disk_is_this_machines_failure():
    with (
        pytest.raises(SlmrecError, match=r"No space left.*this machine") as caught,
        reaching("gs://b/x", "could not be downloaded"),
    ):
        raise OSError(28, "No space left on device")
    assert caught.value.exit_code == 4
