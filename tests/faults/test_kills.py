"""Row 1: a run that was killed ends, begun again, with the bytes of one that nothing disturbed."""

from pathlib import Path

import pytest

from tests.faults.conftest import Tell
from tests.faults.kills import GROUP, Harness, Kill, plan, usual_seconds
from tests.faults.remains import artifacts, check_registry, files, leftovers, unlike
from tests.faults.tiny import STEPS, finish, kill_group, logs, start, started, wait_for

KILLS = 200


def test_data_steps_give_the_same_bytes_when_they_were_killed(
    code: Path, half: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    harness = Harness(code, home, usual_seconds(*logs(half)))
    for kill in (
        Kill("ingest_interactions", 0.9, GROUP),
        Kill("build_sequences", 0.9, GROUP),
    ):
        harness.strike(kill)
    before = logs(home)
    process = start(code, home)
    try:
        assert wait_for(lambda: "monitor_drift" in started(home, before), process, 600)
    finally:
        kill_group(process)
    # Whether the step after them had ended already when all was ended is chance.
    found, expected = (
        {port: digests for port, digests in artifacts(place).items() if "monitor-drift" not in port}
        for place in (home, half)
    )
    assert unlike(found, expected) == []
    assert found.keys() == expected.keys()


@pytest.mark.faults
def test_everything_has_the_same_bytes_when_runs_were_killed_two_hundred_times(
    code: Path, undisturbed: Path, tmp_path: Path, tell: Tell
) -> None:
    home = tmp_path / "home"
    harness = Harness(code, home, usual_seconds(min(logs(undisturbed))))
    try:
        for number, kill in enumerate(plan(KILLS, STEPS, seed=9), start=1):
            harness.strike(kill)
            print(f"{number} of {KILLS}: {kill}", flush=True)
    finally:
        harness.end()
    harness.arrange(Kill("", 0, GROUP))
    finish(start(code, home))
    finish(start(code, home))
    found, expected = artifacts(home), artifacts(undisturbed)
    different = unlike(found, expected) + unlike(files(home), files(undisturbed))
    assert found.keys() == expected.keys()
    assert different == []
    assert leftovers(home) == []
    assert check_registry(home / "registry") == check_registry(undisturbed / "registry")
    hit = ", ".join(f"{step} {harness.hit[step]}" for step in (*STEPS, "between steps"))
    victims = ", ".join(f"{harness.victims[victim]} of {victim}" for victim in harness.victims)
    tell(
        1,
        "SIGKILL at any moment of any step; the rerun's artifacts are byte-identical to an "
        "undisturbed run's",
        "200 kills, 0 differences",
        f"{KILLS} kills ({victims}; running: {hit}), {sum(map(len, found.values()))} artifacts of "
        f"{len(found)} kinds compared, {len(different)} differences, 0 leftovers, one version, which "
        "serves",
    )
