"""Rows 6 and 10: what two runs, or several promoters, do at the same moment."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.promote_model.step import run as promote_model
from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.errors import RegistryConflict
from slmrec.registry.store import Registry
from tests.components.test_promote_model import CONFIG, WHEN, Workshop
from tests.faults.conftest import Tell
from tests.faults.racers import Racers, racers
from tests.faults.remains import artifacts, check_registry, leftovers, unlike
from tests.faults.tiny import UNCACHED, finish, start
from tests.registry.registries import FACTS, artifact
from tests.storage.cloud import Bucket, serve_bucket

RACES, FEW = 50, 5
RUNS_FROM_NOTHING = 3
PROMOTERS = 4


def promote(place: str, number: int, address: str) -> int:
    """Promote a version where nothing served when this one looked; gives its number."""
    if address:
        os.environ["STORAGE_EMULATOR_HOST"] = address
    made = Registry(place).promote(number, None, reason="race", actor="racer", time=WHEN)
    assert made.version is not None
    return made.version


def race_to_promote(ready: Racers, promoters: int, place: str, address: str) -> None:
    """Every promoter for a version of its own: one wins, the others are told who did."""
    found = ready.race([(promote, (place, number, address)) for number in range(1, promoters + 1)])
    winners = [answer for answer in found if isinstance(answer, int)]
    refused = [answer for answer in found if isinstance(answer, RegistryConflict)]
    assert len(winners) == 1, found
    assert len(refused) == promoters - 1, found
    for answer in refused:
        assert f"production is version {winners[0]}, expected no version" in str(answer)
    registry = Registry(place)
    production = registry.production()
    assert production is not None
    assert production.number == winners[0]
    assert [one.version for one in registry.decisions()] == winners


@contextlib.contextmanager
def bucket_with_versions(folder: Path) -> Iterator[tuple[Bucket, str]]:
    """A strict bucket on loopback that holds the registry of a folder under `template/`."""
    with serve_bucket("models") as (bucket, address):
        os.environ["STORAGE_EMULATOR_HOST"] = address
        try:
            registry = Registry("gs://models/template")
            _fill(registry, folder)
            yield bucket, address
        finally:
            del os.environ["STORAGE_EMULATOR_HOST"]


def _fill(registry: Registry, folder: Path) -> None:
    evaluation = artifact(folder / "evaluation", "evaluation", 1)
    timings = artifact(folder / "timings", "timings", 0)
    for number in range(1, PROMOTERS + 1):
        model = artifact(folder / f"model-{number}", "servable", number)
        registry.add(
            model, evaluation, timings, FACTS, code_digest="c", settings_digest="s", time=WHEN
        )


def race_in_both(tmp_path: Path, races: int, promoters: int, ready: Racers) -> None:
    template = tmp_path / "template"
    _fill(Registry(template), tmp_path)
    with bucket_with_versions(tmp_path) as (bucket, address):
        for race in range(races):
            shutil.copytree(template, tmp_path / f"race-{race}")
            race_to_promote(ready, promoters, str(tmp_path / f"race-{race}"), "")
            with bucket.lock:
                bucket.objects |= {
                    name.replace("template/", f"race-{race}/", 1): stored
                    for name, stored in bucket.objects.items()
                    if name.startswith("template/")
                }
            race_to_promote(ready, promoters, f"gs://models/race-{race}", address)


@pytest.fixture(scope="module")
def two() -> Iterator[Racers]:
    with racers(2) as ready:
        yield ready


def test_one_promoter_wins_when_several_try_at_once(tmp_path: Path, two: Racers) -> None:
    race_in_both(tmp_path, FEW, 2, two)


@pytest.mark.faults
def test_one_promoter_wins_in_each_of_fifty_races(tmp_path: Path, tell: Tell) -> None:
    with racers(PROMOTERS) as ready:
        race_in_both(tmp_path, RACES, PROMOTERS, ready)
    tell(
        10,
        "promotion is compare-and-swap",
        "50 races, one winner each",
        f"{RACES} races of {PROMOTERS} processes on a folder and {RACES} on a bucket: one winner each, "
        "the others told which version serves",
    )


def promote_same(folder: str, number: int, registry: str) -> dict[str, Any]:
    """The step of one of several runs that have found the same, timed by a clock of their own."""
    where = Path(folder)
    return promote_model(
        str(where / "evaluation"),
        str(where / f"timings-{number}"),
        [str(where / "int8-1")],
        str(where / "sequences"),
        registry,
        "code",
        "settings",
        WHEN,
        CONFIG,
        str(Path(registry).parent / f"promotion-{number}"),
    )


def test_runs_that_found_the_same_name_one_version_when_they_end_at_once(
    tmp_path: Path, two: Racers
) -> None:
    workshop = Workshop(tmp_path, tmp_path / "first" / "registry")
    workshop.promote(names=("int8",))
    inputs = {"evaluation": open_artifact(tmp_path / "evaluation")}
    times = open_artifact(tmp_path / "timings")
    for number in (0, 1):
        with publish(tmp_path / f"timings-{number}", "timings", inputs=inputs) as staging:
            timed = times.json("timings.json") | {"clock": number}
            write_json(staging / "timings.json", timed)
            write_json(staging / "choice.json", times.json("choice.json"))
    for race in range(FEW):
        place = tmp_path / f"race-{race}" / "registry"
        found = two.race([(promote_same, (str(tmp_path), number, str(place))) for number in (0, 1)])
        assert [one["promoted"] for one in found] == [found[0]["version"]] * 2, found
        registry = Registry(place)
        assert [version.number for version in registry.versions()] == [found[0]["version"]]
        production = registry.production()
        assert production is not None
        assert production.number == found[0]["version"]
        assert [one.action for one in registry.decisions()] == ["propose", "promote"]


def run_twice_at_once(code: Path, home: Path) -> list[dict[str, Any]]:
    """Two runs on one home at the same moment, both of which have to end well."""
    processes = [start(code, home) for _ in range(2)]
    found: list[dict[str, Any]] = [{}, {}]

    def collect(index: int) -> None:
        found[index] = finish(processes[index])

    threads = [threading.Thread(target=collect, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found), "a run failed; see the other thread's error"
    return found


@pytest.mark.faults
def test_two_runs_at_once_publish_one_result_in_each_of_fifty_races(
    code: Path, undisturbed: Path, tmp_path: Path, tell: Tell
) -> None:
    expected = check_registry(undisturbed / "registry")
    home = tmp_path / "home"
    for race in range(RUNS_FROM_NOTHING):
        shutil.rmtree(home, ignore_errors=True)
        both = run_twice_at_once(code, home)
        assert {summary["promoted"] for summary in both} == {1}, race
        assert check_registry(home / "registry") == expected
        assert unlike(artifacts(home), artifacts(undisturbed)) == []
        assert leftovers(home) == []
    late = races = 0
    while races < RACES:
        assert late < RACES, "runs that are started together hardly ever meet"
        shutil.rmtree(home / "registry")
        both = run_twice_at_once(code, home)
        executed = [
            {step["name"] for step in summary["steps"] if not step["cached"]} for summary in both
        ]
        promoted = [summary["promoted"] for summary in both]
        if UNCACHED - {"promote_model"} in executed:
            # It looked when the other one had ended, and found nothing left to do.
            late += 1
            assert None in promoted
            promoted.remove(None)
            executed.remove(UNCACHED - {"promote_model"})
        else:
            races += 1
        assert {*promoted} == {1}, races
        assert {frozenset(names) for names in executed} == {frozenset(UNCACHED)}, races
        assert check_registry(home / "registry") == expected
    tell(
        6,
        "two runs at once on one home publish one result",
        "50 races",
        f"{RACES} races to the promotion and {RUNS_FROM_NOTHING} from an empty home: both runs ended "
        "well and named the same version, the only one, which serves; every artifact was whole "
        f"({late} more, in which the later run found what the other had promoted, and left it so)",
    )
