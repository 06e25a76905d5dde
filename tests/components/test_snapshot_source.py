import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from components.runtime import PUBLIC_KEY_VARIABLE
from components.snapshot_source.step import run
from slmrec.config import MonitorDrift
from slmrec.registry.store import Registry
from tests.registry.registries import FACTS, WHEN, artifact, promote


def test_the_digest_comes_back_when_the_source_exists(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("x")
    metadata = run(str(log), "", str(tmp_path / "registry"), WHEN, "{}")
    assert len(metadata["digest"]) == 64
    assert (metadata["previous"], metadata["production"], metadata["serving"]) == ("", "", "")
    assert metadata["digest"][:12] in metadata["headline"]
    assert metadata["started"] == WHEN


def test_the_run_started_now_when_a_schedule_started_it(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    metadata = run("sample:", "", str(tmp_path / "registry"), "", "{}")
    assert before <= datetime.fromisoformat(metadata["started"]) < before + timedelta(minutes=5)


def test_the_process_ends_with_two_when_the_source_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(str(tmp_path / "absent.csv"), "", str(tmp_path / "registry"), WHEN, "{}")
    assert caught.value.code == 2
    assert "absent.csv: no such file" in capsys.readouterr().err


def pem(key):
    """The public half as text."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode()


def serve(registry, folder, number):
    """A version of its own bytes that serves from now on."""
    model, evaluation, timings = (
        artifact(folder / f"{kind}-{number}", kind, number)
        for kind in ("servable", "evaluation", "timings")
    )
    version = registry.add(
        model, evaluation, timings, FACTS, code_digest="c", settings_digest="s", time=WHEN
    )
    current = registry.production()
    promote(registry, version.number, current.number if current else None)
    return version


def test_who_serves_is_named_with_all_that_a_look_at_drift_hangs_on(tmp_path, monkeypatch):
    registry = Registry(tmp_path / "registry")
    lists = tmp_path / "lists.csv"
    lists.write_text("user_id,items")
    drift = MonitorDrift(recommendations=str(lists)).to_json()

    def named(config="{}"):
        return json.loads(run("sample:", "", registry.place, WHEN, config)["serving"])

    first = serve(registry, tmp_path, 1)
    alone = named()
    assert (alone["version"], alone["previous"]) == (1, None)
    assert alone["models"] == [first.model_digest]
    assert alone["recommendations"] == ""
    given = named(drift)["recommendations"]
    lists.write_text("user_id,items\nu1,i1")
    assert named(drift)["recommendations"] not in ("", given)
    key = ec.generate_private_key(ec.SECP256R1())
    registry.signatures.add(1, key)
    signed = named()["signatures"]
    assert signed != alone["signatures"]
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, pem(key))
    assert named()["signatures"] not in (signed, alone["signatures"])
    monkeypatch.delenv(PUBLIC_KEY_VARIABLE)
    second = serve(registry, tmp_path, 2)
    after = named()
    assert (after["version"], after["previous"]) == (2, 1)
    assert after["models"] == [second.model_digest, first.model_digest]


def test_the_process_ends_with_two_when_handed_out_lists_are_missing(tmp_path, capsys):
    registry = Registry(tmp_path / "registry")
    serve(registry, tmp_path, 1)
    drift = MonitorDrift(recommendations=str(tmp_path / "absent.parquet")).to_json()
    with pytest.raises(SystemExit) as caught:
        run("sample:", "", registry.place, WHEN, drift)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "monitor_drift.recommendations: " in said
    assert "absent.parquet: no such file" in said
