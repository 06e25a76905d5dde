"""What one of several machines learns of the others from Vertex AI."""

import json
import os
import subprocess
import sys

import pytest

from pipeline.paths import ROOT
from slmrec.errors import ConfigError
from slmrec.training.nodes import CLUSTER_VARIABLE, rendezvous

POOLS = {
    "workerpool0": ["training-workerpool0-ab-0:2222"],
    "workerpool1": ["training-workerpool1-ab-0:2222", "training-workerpool1-ab-1:2222"],
}


@pytest.mark.parametrize(
    ("pool", "index", "rank"), [("workerpool0", 0, 0), ("workerpool1", 0, 1), ("workerpool1", 1, 2)]
)
def test_machines_are_counted_over_the_pools(pool: str, index: int, rank: int) -> None:
    spec = {"cluster": POOLS, "environment": "cloud", "task": {"type": pool, "index": index}}
    assert rendezvous(json.dumps(spec)) == [
        "--nnodes=3",
        f"--node-rank={rank}",
        "--master-addr=training-workerpool0-ab-0",
        "--master-port=2222",
    ]


@pytest.mark.parametrize("nothing", [None, ""])
def test_machine_is_alone_when_it_is_told_nothing(nothing: str | None) -> None:
    assert rendezvous(nothing) == ["--standalone"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"cluster": {}, "task": {"type": "workerpool0", "index": 0}}',
        '{"cluster": {"workerpool0": ["a:1"]}, "task": {"type": "workerpool0", "index": 1}}',
        '{"cluster": {"workerpool0": ["a"]}, "task": {"type": "workerpool0", "index": 0}}',
        '{"cluster": {"workerpool0": [1]}, "task": {"type": "workerpool0", "index": 0}}',
    ],
)
def test_description_is_refused_when_it_does_not_say_who_is_who(text: str) -> None:
    with pytest.raises(ConfigError, match=r"CLUSTER_SPEC: found .*, expected JSON with cluster"):
        rendezvous(text)


def test_process_ends_with_one_line_when_the_description_is_wrong() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slmrec.training.nodes", "1", "components.run_step"],
        cwd=ROOT,
        env=os.environ | {CLUSTER_VARIABLE: "none"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("CLUSTER_SPEC: found none, expected")
