"""Forms that act: once, on what was seen, with a reason."""

import html
from concurrent.futures import ThreadPoolExecutor

import pytest
from litestar.testing import TestClient

from slmrec.dashboard.app import create_app
from slmrec.dashboard.security import Access
from slmrec.errors import RegistryConflict
from slmrec.registry.store import Registry
from slmrec.storage.bucket import Bucket
from tests.dashboard.conftest import HERE, fields
from tests.dashboard.homes import NOW, add_version, make_run
from tests.storage.cloud import QUICK, client_of, serve_bucket

SAID = {"actor": "bob", "time": NOW.isoformat(timespec="seconds")}


def form(client, action, **changes):
    page = html.unescape(client.get("/decisions").text)
    return {**fields(page, f"decisions/{action}"), "reason": "because", **changes}


def submit(client, action, **changes):
    return client.post(f"/decisions/{action}", data=form(client, action, **changes))


def test_an_approval_makes_the_candidate_serve_and_records_the_evidence(client, registry):
    answer = submit(client, "promote", reason="  better \n lists ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/decisions/4")
    assert registry.production().number == 3
    made = registry.decisions()[-1]
    assert (made.actor, made.reason, made.previous) == ("ann", "better lists", 2)
    version = registry.version(3)
    drift = client.get("/api/drift").json()["found"]["digest"]
    assert made.evidence == {
        "drift": drift,
        "evaluation": version.evaluation_digest,
        "model": version.model_digest,
    }
    page = client.get("/decisions/4").text
    assert version.evaluation_digest in page
    assert drift in page


def test_a_rejection_takes_the_candidate_back(client, registry):
    submit(client, "reject")
    assert registry.candidate() is None
    assert registry.channels().taken_back == (3,)
    assert "No version waits" in client.get("/decisions").text


def test_a_request_and_a_snooze_are_what_decide_retraining_reads(client, registry):
    submit(client, "retrain", reason="new season")
    assert registry.channels().request.reason == "new season"
    submit(client, "snooze", until="2026-03-02T09:00")
    assert registry.channels().snoozed(NOW).until == "2026-03-02T09:00:00+00:00"
    found = client.get("/api").json()
    assert found["request"]["by"] == found["snooze"]["by"] == "ann"


def test_a_rollback_brings_back_what_served_before(client, registry):
    submit(client, "rollback")
    assert registry.production().number == 1
    assert registry.decisions()[-1].evidence["evaluation"] == registry.version(2).evaluation_digest


@pytest.mark.parametrize("action", ["promote", "reject", "snooze", "retrain", "rollback"])
def test_a_repeated_click_changes_nothing(client, registry, action):
    sent = form(client, action, until="2026-03-02T09:00")
    first = client.post(f"/decisions/{action}", data=sent)
    after = registry.channels()
    second = client.post(f"/decisions/{action}", data=sent)
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"] == "/decisions/4"
    assert registry.channels() == after
    assert len(registry.decisions()) == 4


def test_decisions_act_on_a_registry_in_a_bucket(home, tmp_path, registry):
    with serve_bucket("models") as (_, address), client_of(address) as storage:
        remote = Registry(Bucket("gs://models/registry", client=storage, patience=QUICK))
        for number in (1, 2):
            add_version(remote, tmp_path / "remote" / str(number), "int8", number)
        remote.promote(1, None, reason="r", **SAID)
        remote.propose(2, reason="r", **SAID)
        app = create_app(home, remote, Access(actor="ann"), lambda: NOW)
        with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
            client.follow_redirects = False
            for path in ("/", "/models", "/models/2", "/models/2/reports/evaluation"):
                assert client.get(path).status_code == 200
            assert submit(client, "promote").status_code == 303
            assert remote.production().number == 2
            sent = form(client, "rollback")
            for _ in range(2):
                answer = client.post("/decisions/rollback", data=sent)
                assert answer.headers["location"] == "/decisions/4"
            assert remote.production().number == 1


def test_two_clicks_at_once_roll_back_once(client, registry):
    registry.promote(3, 2, reason="r", **SAID)
    sent = form(client, "rollback")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post("/decisions/rollback", data=sent), range(4)))
    assert {answer.status_code for answer in answers} <= {303, 409}
    assert registry.production().number == 2


@pytest.mark.parametrize("action", ["promote", "reject", "snooze", "retrain", "rollback"])
def test_a_form_for_another_state_is_a_conflict_that_is_explained(client, registry, action):
    sent = form(client, action, until="2026-03-02T09:00")
    registry.ask_retraining(reason="r", **SAID)
    before = registry.channels()
    answer = client.post(f"/decisions/{action}", data=sent)
    assert answer.status_code == 409
    assert "nothing was decided" in answer.text
    assert "number 4: retrain" in answer.text
    assert registry.channels() == before


def test_somebody_else_who_comes_first_is_a_conflict_that_is_explained(
    client, registry, monkeypatch
):
    sent = form(client, "promote")

    def overtaken(self, *args, **kwargs):
        raise RegistryConflict(f"{registry.place}/channels.json: production is version 9")

    monkeypatch.setattr(Registry, "promote", overtaken)
    answer = client.post("/decisions/promote", data=sent)
    assert answer.status_code == 409
    assert registry.place not in answer.text


def test_an_approval_does_not_pass_a_rejection_that_comes_in_between(client, registry, monkeypatch):
    sent = form(client, "promote")
    usual = Registry.promote

    def rejected_first(self, *args, **kwargs):
        monkeypatch.setattr(Registry, "promote", usual)
        registry.reject(3, reason="too many repeats", **SAID)
        return usual(self, *args, **kwargs)

    monkeypatch.setattr(Registry, "promote", rejected_first)
    assert client.post("/decisions/promote", data=sent).status_code == 409
    assert registry.production().number == 2
    assert 3 in registry.channels().taken_back


@pytest.mark.parametrize("name", ["drift", "evaluation", "model"])
@pytest.mark.parametrize("digest", ["", "0" * 64])
def test_evidence_that_the_pages_do_not_show_is_refused(client, registry, name, digest):
    answer = submit(client, "promote", **{f"evidence.{name}": digest})
    assert answer.status_code == 409
    assert registry.production().number == 2


def test_evidence_beside_what_the_pages_show_is_refused(client, registry):
    assert submit(client, "retrain", **{"evidence.other": "0"}).status_code == 409
    assert registry.channels().request is None


def test_a_newer_drift_report_has_the_person_look_again(home, client, registry):
    sent = form(client, "retrain")
    make_run(home, ("plain",), 7, effect=0.3)
    answer = client.post("/decisions/retrain", data=sent)
    assert answer.status_code == 409
    assert "newer drift report" in answer.text
    assert registry.channels().request is None


@pytest.mark.parametrize("reason", ["", "   ", "x" * 2001, "a\u202eb", "a\x00b"])
def test_a_reason_is_required_and_is_plain_text(client, registry, reason):
    assert submit(client, "promote", reason=reason).status_code == 400
    assert len(registry.decisions()) == 3


@pytest.mark.parametrize(
    "until", ["", "tomorrow", "2026-02-01T09:00", "9" * 400, "2026-13-01T00:00"]
)
def test_a_snooze_ends_in_the_future(client, registry, until):
    assert submit(client, "snooze", until=until).status_code == 400
    assert registry.channels().snooze is None


def test_a_model_that_is_not_whole_does_not_serve(client, registry, home):
    (home / "registry/versions/000003/model/content.json").write_text("9\n")
    answer = submit(client, "promote")
    assert answer.status_code == 409
    assert "is not whole" in answer.text
    assert str(home) not in answer.text
    assert registry.production().number == 2


@pytest.mark.parametrize(
    "change",
    [{"form_token": ""}, {"form_token": "9999999999.0"}, {"form_token": "²²²²²."}],
)
def test_a_form_that_is_not_ours_does_nothing(client, registry, change):
    assert submit(client, "promote", **change).status_code == 403
    assert registry.production().number == 2


def test_a_form_of_another_site_does_nothing(client, registry):
    sent = form(client, "promote")
    for site in ("cross-site", "same-site"):
        headers = {"sec-fetch-site": site}
        answer = client.post("/decisions/promote", data=sent, headers=headers)
        assert answer.status_code == 403
    assert client.post("/decisions/promote", json=sent).status_code in (400, 403)
    assert client.get("/decisions/promote").status_code == 404
    assert registry.production().number == 2


def test_a_form_of_another_person_does_nothing(home, open_client, registry):
    access = Access(identity_header="x-user")
    client = open_client(home, access)
    client.headers["x-user"] = "mallory"
    sent = form(client, "promote")
    client.headers["x-user"] = "ann"
    assert client.post("/decisions/promote", data=sent).status_code == 403
    assert submit(client, "promote").status_code == 303
    assert registry.decisions()[-1].actor == "ann"


def test_a_form_is_too_old_after_half_a_day(home, registry):
    access = Access(actor="ann")
    token = access.form_token("ann", 0)
    assert access.form_is_ours(token, "ann", 12 * 3600 - 1)
    assert not access.form_is_ours(token, "ann", 12 * 3600)
    assert not access.form_is_ours(token, "bob", 0)


def test_no_other_decision_is_taken(client, registry):
    sent = form(client, "retrain")
    for action in ("prune", "refuse", "propose", "x"):
        assert client.post(f"/decisions/{action}", data=sent).status_code == 404
    assert len(registry.decisions()) == 3


def test_a_form_that_is_too_long_is_refused(client):
    sent = form(client, "retrain", reason="x" * 100_000)
    assert client.post("/decisions/retrain", data=sent).status_code == 413
