"""Cloud Storage that fails: every operation ends well, once, and whole."""

import json
import time

import pytest

from slmrec.storage import ranges, uploads
from tests.faults.storage_trials import CHUNK, RANGE, TRIALS, Trial
from tests.storage.cloud import client_of, serve_bucket

RATE = 0.3
FEW = {"register and promote": 4}
"""Of trials whose operations are many requests."""
# The library leaves connections of requests that failed to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def trial(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr("slmrec.storage.bucket.CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(ranges, "RANGE_BYTES", RANGE)
    with serve_bucket("models") as (served, address), client_of(address) as client:
        yield Trial(served, client, tmp_path)
        served.plan = None


@pytest.mark.parametrize("name", TRIALS)
def test_operations_end_well_when_three_of_ten_requests_fail(trial, name):
    plan = trial.begin(seed=17, rate=RATE)
    TRIALS[name](trial, FEW.get(name, 12))
    assert sum(plan.counts.values()) > 0


@pytest.mark.faults
@pytest.mark.parametrize("name", TRIALS)
def test_hundreds_of_operations_end_well_when_three_of_ten_requests_fail(trial, name, capsys):
    plan = trial.begin(seed=2026, rate=RATE)
    started = time.monotonic()
    TRIALS[name](trial, 240)
    with capsys.disabled():
        print(
            "\n"
            + json.dumps(
                {
                    "trial": name,
                    "operations": 240,
                    "requests": plan.requests,
                    "faults": sum(plan.counts.values()),
                    **{kind: plan.counts[kind] for kind in sorted(plan.counts)},
                    "seconds": round(time.monotonic() - started, 1),
                }
            )
        )
    assert sum(plan.counts.values()) > 0.2 * plan.requests
