"""Cloud Storage that fails: every operation ends well, once, and whole."""

import json
import time

import pytest

from slmrec.storage import ranges, uploads
from tests.faults.conftest import keep_row
from tests.faults.storage_trials import CHUNK, RANGE, TRIALS, Trial
from tests.storage.cloud import client_of, serve_bucket

RATE = 0.3
OPERATIONS = 240
FEW = {"register and promote": 4}
"""Of trials whose operations are many requests."""
# The library leaves connections of requests that failed to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="module")
def counts():
    """What each trial that ended well has counted; row 7 when all have."""
    found = []
    yield found
    if {one["trial"] for one in found} == set(TRIALS):
        requests, faults = (sum(one[name] for one in found) for name in ("requests", "faults"))
        keep_row(
            7,
            "storage that answers 429 or 503, times out, loses answers or cuts them short",
            "30 % faults: success within the budget, no duplicate, no partial object",
            f"{len(found)} kinds of operations, {OPERATIONS} each: {requests:,} requests, {faults:,} "
            "of them failed; every operation ended well, once and whole",
            sum(one["seconds"] for one in found),
        )


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
def test_hundreds_of_operations_end_well_when_three_of_ten_requests_fail(
    trial, name, capsys, counts
):
    plan = trial.begin(seed=2026, rate=RATE)
    started = time.monotonic()
    TRIALS[name](trial, OPERATIONS)
    counts.append(
        {
            "trial": name,
            "operations": OPERATIONS,
            "requests": plan.requests,
            "faults": sum(plan.counts.values()),
            **{kind: plan.counts[kind] for kind in sorted(plan.counts)},
            "seconds": round(time.monotonic() - started, 1),
        }
    )
    with capsys.disabled():
        print(f"\n{json.dumps(counts[-1])}")
    assert sum(plan.counts.values()) > 0.2 * plan.requests
