"""Rows 3, 4 and 5: what is taken from the cache, and what is not."""

import json
import os
import random
import resource
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kfp.local.cache import LocalCache

from pipeline.code import code_digest, image_name
from pipeline.local import verified
from pipeline.task_cache import seal_entries
from tests.faults.conftest import Tell
from tests.faults.damage import flip_for_good, harm
from tests.faults.remains import artifacts, check_registry, files, unlike
from tests.faults.tiny import STEPS, UNCACHED, finish, start
from tests.faults.walk import walk

FLIPS, FEW = 1000, 100
SECONDS = 15.0
CACHED = tuple(step for step in STEPS if step not in UNCACHED)
ENDS = {"monitor_drift"}
"""On what they give hangs no step whose results are cached."""
CHANGES = {
    "ingest_interactions": "ingest_interactions.max_id_length=200",
    "validate_data": "validate_data.robot_events=90",
    "build_sequences": "build_sequences.min_user_interactions=4",
    "pretrain_items": "pretrain_items.training.epochs=3",
    "train_teacher": "train_teacher.training.seed=18",
    "cache_teacher": "cache_teacher.top_k=16",
    "distill_student": "distill_student.losses.cosine=0.5",
    "evaluate_models": "evaluate_models.resamples=7",
    "monitor_drift": "monitor_drift.min_users=7",
    "decide_retraining": "decide_retraining.on_drift=false",
    "promote_model": "promote_model.approval=manual",
}
"""A setting of each step that has any."""
CODE_FILES = (
    "src/slmrec/columns.py",
    "components/train_teacher/step.py",
    "validation/gates.yaml",
    "requirements.lock",
)
LOG = "user,item,timestamp\nu1,i1,1600000000\nu2,i2,1600000001\n"


def below(step: str) -> set[str]:
    """Steps whose results are cached and hang on a step's settings."""
    if step in UNCACHED | ENDS:
        return {step} - UNCACHED
    return set(CACHED[CACHED.index(step) :])


def changed(before: dict[str, set[str]], after: dict[str, set[str]]) -> set[str]:
    """Steps that are looked up under other keys than before; each has to have all of its own."""
    assert before.keys() == after.keys() == set(CACHED)
    found = {step for step in before if before[step] != after[step]}
    assert all(not before[step] & after[step] for step in found)
    return found


def change_each(code: Path, folder: Path, settings: dict[str, str], files: Sequence[str]) -> int:
    """Change what a key covers, one after another, in a copy of the code; how many changes."""
    log = folder / "log.csv"
    log.write_text(LOG, encoding="utf-8")
    copy = folder / "code"
    shutil.copytree(code, copy)
    home, changes = folder / "home", 0

    def keys(*overrides: str) -> dict[str, set[str]]:
        digest = code_digest(copy)
        return walk(home, str(log), list(overrides), image_name(digest), digest)[0]

    before = keys()
    assert walk(home, str(log), [], image_name(code_digest(copy)), code_digest(copy)) == (
        before,
        UNCACHED,
    )
    for path in (copy / "src" / "slmrec" / "columns.py", copy / "requirements.lock", log):
        os.utime(path, (1, 1))
        assert changed(before, keys()) == set(), path
    for step, setting in settings.items():
        assert changed(before, keys(setting)) == below(step), setting
        changes += 1
    for name in files:
        text = (copy / name).read_text(encoding="utf-8")
        (copy / name).write_text(text + "#\n", encoding="utf-8")
        assert changed(before, keys()) == set(CACHED), name
        (copy / name).write_text(text, encoding="utf-8")
        changes += 1
    log.write_text(LOG.replace("u2", "u3"), encoding="utf-8")
    assert changed(before, keys()) == set(CACHED)
    log.write_text(LOG, encoding="utf-8")
    digest = code_digest(copy)
    other = walk(home, str(log), [], image_name("0" * 64), digest)[0]
    assert changed(before, other) == set(CACHED)
    assert changed(before, keys()) == set()
    return changes + 2


def test_keys_change_with_what_decides_a_result_and_with_nothing_else(
    code: Path, tmp_path: Path
) -> None:
    changes = {
        name: CHANGES[name] for name in ("train_teacher", "distill_student", "monitor_drift")
    }
    change_each(code, tmp_path, changes, CODE_FILES[1:2])


@pytest.mark.faults
def test_keys_change_with_all_that_decides_a_result_and_with_nothing_else(
    code: Path, tmp_path: Path, tell: Tell
) -> None:
    changes = change_each(code, tmp_path, CHANGES, CODE_FILES)
    tell(
        5,
        "the cache key covers code, config, input digests, image, lock",
        "mutate each: miss; touch a file's time: hit",
        f"{changes} changes (a setting of each step; a line under src/, components/ and validation/; "
        "the lock; a byte of the input; the image's name), each a miss for every step that hangs on it "
        "and for no other; 3 files touched: hits",
    )


class Reach:
    """What a home's task cache gives, looked up as the engine does."""

    def __init__(self, home: Path) -> None:
        cache = LocalCache(str(home / "cache" / "tasks"))
        self.entries = sorted(Path(cache.cache_root).glob("*.json"))
        seal_entries(cache)
        self._get = verified(cache.get, lambda event: None)

    def hit(self, entry: Path) -> bool:
        """Whether a look-up gives a result."""
        return self._get(entry.stem) is not None

    def parts(self, entry: Path) -> dict[str, list[Path]]:
        """The files of each output, by kind of artifact or, of plain files, by port; and the entry."""
        content: dict[str, Any] = json.loads(entry.read_text(encoding="utf-8"))
        found = {"task cache entry": [entry]}
        for port, output in content.items():
            place = Path(output["uri"])
            if place.is_file():
                found[port] = [place]
            else:
                kind = json.loads((place / "manifest.json").read_text(encoding="utf-8"))["kind"]
                found[kind] = sorted(path for path in place.rglob("*") if path.is_file())
        return found


def damage_and_look(home: Path, times: int) -> tuple[int, Counter[str], Counter[str]]:
    """Damage files one after another; how often that was noticed, by kind and by way."""
    rng = random.Random(4)
    reach = Reach(home)
    parts = {entry: reach.parts(entry) for entry in reach.entries}
    by_kind: dict[str, list[tuple[Path, Path, list[Path]]]] = {}
    for entry, kinds in parts.items():
        for kind, paths in kinds.items():
            by_kind.setdefault(kind, []).extend(
                (entry, path, [other for other in paths if other != path]) for path in paths
            )
    noticed, kinds_hit, ways_hit = 0, Counter[str](), Counter[str]()
    for time_ in range(times):
        kind = sorted(by_kind)[time_ % len(by_kind)]
        entry, path, others = rng.choice(by_kind[kind])
        way, undo = harm(path, others, rng)
        try:
            unseen = reach.hit(entry)
        finally:
            undo()
        assert not unseen, f"{path}: {way}"
        noticed += 1
        kinds_hit[kind] += 1
        ways_hit[way] += 1
    assert all(reach.hit(entry) for entry in reach.entries)
    return noticed, kinds_hit, ways_hit


def test_damage_is_noticed_when_a_result_is_looked_up(half: Path) -> None:
    noticed, kinds, _ = damage_and_look(half, FEW)
    assert noticed == FEW
    assert set(kinds) == {"task cache entry", "interactions", "validation", "sequences"}


@pytest.mark.faults
def test_a_thousand_damages_are_noticed_and_the_steps_executed_again(
    code: Path, tmp_path: Path, tell: Tell
) -> None:
    home = tmp_path / "home"  # of its own: others are not to meet what is harmed here
    finish(start(code, home))
    noticed, kinds, ways = damage_and_look(home, FLIPS)
    before, before_files = artifacts(home), files(home)
    shutil.rmtree(home / "registry")
    harmed = ["ingest-interactions/log", "train-teacher/teacher", "evaluate-models/evaluation"]
    folders = [next(home.glob(f"cache/artifacts/*/*/{port}")) for port in harmed]
    for folder in folders:
        sizes = json.loads((folder / "manifest.json").read_text())["files"]
        flip_for_good(folder / max(sizes, key=lambda name: sizes[name]["bytes"]))
    summary = finish(start(code, home))
    executed = {step["name"].partition("[")[0] for step in summary["steps"] if not step["cached"]}
    assert executed == set(STEPS)  # all that hangs on the first of the three
    for folder in folders:
        shutil.rmtree(folder)
    assert unlike(artifacts(home), before) == []
    assert unlike(files(home), before_files) == []
    check_registry(home / "registry")
    spelled = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    how = ", ".join(f"{way} {count}" for way, count in sorted(ways.items()))
    tell(
        4,
        "a flipped bit is noticed and the step re-executed",
        "1,000 flips over all artifact kinds, 1,000 noticed",
        f"{noticed:,} of {FLIPS:,} noticed ({how}; in {spelled}); three artifacts harmed for good: the "
        "next run executed their steps, whose new artifacts had the old digests",
    )


@pytest.mark.faults
def test_an_unchanged_run_executes_nothing(code: Path, undisturbed: Path, tell: Tell) -> None:
    finish(start(code, undisturbed))  # a model serves since the first run: it is asked, once
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = finish(start(code, undisturbed))
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    executed = [step["name"] for step in summary["steps"] if not step["cached"]]
    assert set(executed) == UNCACHED - {"promote_model"}
    assert summary["decision"]["retrain"] is False
    assert cpu < SECONDS  # the clock on the wall says how busy the machine is
    tell(
        3,
        "an unchanged run executes nothing",
        "second run under 15 s, 0 executed steps besides the uncached three",
        f"{wall:.1f} s, {cpu:.1f} s of processor time; executed: {', '.join(executed)} (there is no "
        "reason to train, so promote_model is not reached); everything else from the cache",
    )
